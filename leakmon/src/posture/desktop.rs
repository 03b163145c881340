//! The proxy settings of desktops.
