//! Each shape in which a program can send a query is seen once and attributed to the program. The name server's log is
//! the witness that it was sent; what the program says of itself is the witness of who it was.

use leakmon_lab::lab::{CLIENT, SERVER};
use leakmon_lab::netns::INTERFACE;
use leakmon_lab::sent::{Expected, Trial};
use leakmon_lab::{LIMIT, Lab, wait};

/// The program that sends.
const SEND: &str = env!("CARGO_BIN_EXE_leakmon-lab-send");

/// Sends in a shape under watch; the witnesses and leakmon must agree.
fn assert_shape(scenario: &str, args: &[&str], expected: Expected) {
    let Some(lab) = Lab::builder(scenario).build() else {
        return;
    };
    assert_shape_in(&lab, args, &expected);
}

fn assert_shape_in(lab: &Lab, args: &[&str], expected: &Expected) {
    let trial = Trial::of(lab, SEND, args, expected.answered);
    wait::until_true(LIMIT, || lab.dns_log().len() >= trial.sent.len());
    trial.assert_arrived(&lab.dns_log(), expected.qtype);
    trial.assert_seen(SEND, expected);
}

fn v4() -> String {
    SERVER.0.to_string()
}

fn v6() -> String {
    SERVER.1.to_string()
}

/// The IPv4 server, as a program with IPv6 sockets only writes it.
fn mapped() -> String {
    SERVER.0.to_ipv6_mapped().to_string()
}

#[test]
fn udp_connected() {
    let args = ["udp-connected", &v4(), "connected.example"];
    assert_shape("sent_connected", &args, Expected::plain());
}

#[test]
fn udp_unconnected() {
    let args = ["udp-unconnected", &v4(), "unconnected.example"];
    assert_shape("sent_unconnected", &args, Expected::plain());
}

#[test]
fn ipv6() {
    for shape in ["udp-connected", "udp-unconnected"] {
        let name = format!("{shape}-6.example");
        assert_shape("sent_ipv6", &[shape, &v6(), &name], Expected::plain().v6());
    }
}

#[test]
fn ipv4_on_an_ipv6_socket() {
    for shape in ["udp-connected", "udp-unconnected"] {
        let name = format!("{shape}-mapped.example");
        assert_shape("sent_mapped", &[shape, &mapped(), &name], Expected::plain());
    }
    let args = ["tcp-split", &mapped(), "tcp-mapped.example"];
    assert_shape("sent_tcp_mapped", &args, Expected::tcp());
}

#[test]
fn sixty_four_in_one_system_call() {
    let names: Vec<String> = (0..64).map(|n| format!("mmsg-{n}.example")).collect();
    let server = v4();
    let mut args = vec!["sendmmsg", &server];
    args.extend(names.iter().map(String::as_str));
    assert_shape("sent_mmsg", &args, Expected::plain());
}

#[test]
fn one_buffer_cut_into_datagrams_by_the_kernel() {
    for (server, expected) in [(v4(), Expected::plain()), (v6(), Expected::plain().v6())] {
        let mut args = vec!["gso", &server];
        args.extend(["gso-1.example", "gso-2.example", "gso-3.example"]);
        assert_shape("sent_gso", &args, expected);
    }
}

#[test]
fn io_uring() {
    let args = ["io-uring", &v4(), "ring.example"];
    assert_shape("sent_uring", &args, Expected::plain());
}

/// A thread of the kernel's sends, in the program's name.
#[test]
fn io_uring_polled_by_the_kernel() {
    let expected = Expected {
        thread: None,
        ..Expected::plain()
    };
    let args = ["io-uring-polled", &v4(), "polled.example"];
    assert_shape("sent_uring_polled", &args, expected);
}

#[test]
fn tcp_in_pieces() {
    for (server, expected) in [(v4(), Expected::tcp()), (v6(), Expected::tcp().v6())] {
        let args = ["tcp-split", &server, "split.example"];
        assert_shape("sent_tcp_split", &args, expected);
    }
}

#[test]
fn tcp_with_several_messages_in_one_segment() {
    let args = [
        "tcp-joined",
        &v4(),
        "joined-1.example",
        "joined-2.example",
        "joined-3.example",
    ];
    assert_shape("sent_tcp_joined", &args, Expected::tcp());
}

/// 72,000 bytes. dnsmasq takes at most 100 queries on a connection.
#[test]
fn tcp_with_a_burst_of_more_than_64_kilobytes() {
    let args = ["tcp-burst", &v4(), "burst", "90", "800"];
    assert_shape("sent_tcp_burst", &args, Expected::tcp());
}

#[test]
fn tcp_with_one_message_of_60_kilobytes() {
    let args = ["tcp-burst", &v4(), "long", "1", "60000"];
    assert_shape("sent_tcp_long", &args, Expected::tcp());
}

#[test]
fn ipv6_with_extension_headers() {
    for kind in ["hop-by-hop", "destination", "both", "long"] {
        let name = format!("{kind}.example");
        let args = ["extension-headers", &v6(), kind, &name];
        assert_shape("sent_extension", &args, Expected::plain().v6());
    }
}

#[test]
fn ipv4_with_options() {
    let args = ["ip-options", &v4(), "options.example"];
    assert_shape("sent_options", &args, Expected::plain());
}

#[test]
fn edns() {
    let args = ["udp-edns", &v4(), "edns.example"];
    assert_shape("sent_edns", &args, Expected::plain());
}

#[test]
fn a_query_that_leaves_in_fragments() {
    for (server, expected) in [(v4(), Expected::plain()), (v6(), Expected::plain().v6())] {
        let args = ["udp-large", &server, "large.example", "4000"];
        assert_shape("sent_large", &args, expected);
    }
}

#[test]
fn types_that_are_rare_or_have_no_name() {
    for (number, qtype) in [("255", "ANY"), ("65280", "TYPE65280"), ("65", "HTTPS")] {
        let expected = Expected {
            qtype,
            ..Expected::plain()
        };
        let name = format!("type-{number}.example");
        let args = ["udp-type", &v4(), &name, number];
        assert_shape("sent_type", &args, expected);
    }
}

#[test]
fn a_thread_with_a_name_of_its_own() {
    let expected = Expected {
        thread: Some("lab-asker"),
        ..Expected::plain()
    };
    for shape in ["udp-thread-unconnected", "udp-thread"] {
        let name = format!("{shape}.example");
        let args = [shape, &v4(), &name, "lab-asker"];
        assert_shape("sent_thread", &args, expected);
    }
}

#[test]
fn a_raw_socket_with_headers_of_the_programs_own() {
    let expected = Expected {
        // The answer goes to another socket than the one that asked.
        answered: false,
        ..Expected::plain()
    };
    let args = ["raw-ip", &v4(), &CLIENT.0.to_string(), "raw.example"];
    assert_shape("sent_raw", &args, expected);
}

#[test]
fn a_frame_put_on_the_interface() {
    let Some(lab) = Lab::builder("sent_packet").build() else {
        return;
    };
    let expected = Expected {
        answered: false,
        unknown_allowed: true,
        ..Expected::plain()
    };
    let mac = lab.server().hardware_address();
    let source = CLIENT.0.to_string();
    let args = ["packet", &v4(), INTERFACE, &mac, &source, "packet.example"];
    assert_shape_in(&lab, &args, &expected);
}
