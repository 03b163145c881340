// written by hand
user_pref("network.proxy.type", 2);
user_pref("network.proxy.autoconfig_url", "data:text/plain,function FindProxyForURL(u, h) {\n  return \"SOCKS5 127.0.0.1:9\"; // it\'s \\ \u00fc \xc3\xa9\r\n}");
user_pref('network.proxy.no_proxies_on', ".example.com, 10.0.0.0/8 <local>");
user_pref("network.proxy.socks_port", -1); /* odd */ # really
user_pref("network.proxy.socks5_remote_dns", "true");
user_pref("network.proxy.socks", 5);
user_pref("network.proxy.http_port", 99999999999);
user_pref("network.proxy.ssl_port", 8080);
pref("network.proxy.ssl", "not.a.user.pref");
