//! Proxy auto-configuration scripts.
