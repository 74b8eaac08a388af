//! Which addresses a webhook may reach: the public internet, and what the operator allows beside it.
//!
//! A customer names the target; without this check they could make the cloud call its own insides: the
//! instance's metadata, the database, the broker. Ranges: the IANA special-purpose registries (RFC 6890) and
//! the addresses of cloud metadata.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Network;

/// What may be reached beside public addresses.
#[derive(Debug, Clone, Default)]
pub struct AddressRules {
    /// Blocks that are reachable although they are not public: a customer's own system in the same network.
    pub allowed: Vec<Network>,
}

impl AddressRules {
    /// May this address be reached?
    ///
    /// # Errors
    /// The kind of address that it is.
    pub fn check(&self, address: IpAddr) -> Result<(), &'static str> {
        if self.allowed.iter().any(|block| block.contains(address)) {
            return Ok(());
        }
        // An allowed IPv4 block is also allowed in its IPv6 spelling, else it would depend on the resolver.
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            return self.check(IpAddr::V4(v4));
        }
        forbidden(address).map_or(Ok(()), Err)
    }
}

/// Why an address is not public; nothing when it is.
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => forbidden_v6(v6),
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, d] = address.octets();
    let why = match (a, b, c, d) {
        (0, ..) => "this network",
        (10, ..) | (172, 16..=31, ..) | (192, 168, ..) => "private",
        (100, 64..=127, ..) => "shared (carrier-grade NAT)",
        (127, ..) => "loopback",
        (169, 254, 169, 254) => "cloud metadata",
        (169, 254, ..) => "link-local",
        // Azure's host agent answers on an address that looks public.
        (168, 63, 129, 16) => "cloud metadata",
        (192, 0, 0, _) => "protocol assignments",
        (192, 0, 2, _) | (198, 51, 100, _) | (203, 0, 113, _) => "documentation",
        (192, 88, 99, _) => "6to4 relay",
        (198, 18..=19, ..) => "benchmarking",
        (224..=239, ..) => "multicast",
        (240..=255, ..) => "reserved",
        _ => return None,
    };
    Some(why)
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    let s = address.segments();
    let low_v4 = Ipv4Addr::from((u32::from(s[6]) << 16) | u32::from(s[7]));
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        // Mapped (::ffff:a.b.c.d) is the IPv4 address itself; the deprecated compatible form has no place.
        [0, 0, 0, 0, 0, 0xffff, ..] => forbidden_v4(low_v4),
        [0, 0, 0, 0, 0, 0, ..] => Some("IPv4-compatible"),
        // NAT64 and 6to4 carry an IPv4 address: the gateway would call it for us.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => forbidden_v4(low_v4),
        [0x64, 0xff9b, 1, ..] => Some("local NAT64"),
        [0x2002, high, low, ..] => forbidden_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        // 2001::/23 holds protocol assignments, Teredo (2001::/32) among them.
        [0x2001, 0..=0x01ff, ..] => Some("protocol assignments"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Some("documentation"),
        [0x100, 0, 0, 0, ..] => Some("discard"),
        [first, ..] if first & 0xfe00 == 0xfc00 => Some("unique local"),
        [first, ..] if first & 0xffc0 == 0xfe80 => Some("link-local"),
        [first, ..] if first & 0xffc0 == 0xfec0 => Some("site-local"),
        [first, ..] if first & 0xff00 == 0xff00 => Some("multicast"),
        // Only 2000::/3 is given out as global unicast.
        [first, ..] if first & 0xe000 != 0x2000 => Some("not global"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn nothing_inside_is_reachable() {
        let inside = [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "169.254.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001::1",
            "fd00:ec2::254",
            "fc00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "100::1",
            "4000::1",
        ];
        for text in inside {
            assert!(AddressRules::default().check(ip(text)).is_err(), "{text} must be refused");
        }
    }

    #[test]
    fn the_internet_is() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "172.15.0.1",
            "100.128.0.1",
            "11.0.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert_eq!(AddressRules::default().check(ip(text)), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_allowed_is_reachable_in_both_spellings() {
        let rules = AddressRules { allowed: vec!["10.1.0.0/16".parse().expect("a network")] };
        assert_eq!(rules.check(ip("10.1.2.3")), Ok(()));
        assert_eq!(rules.check(ip("::ffff:10.1.2.3")), Ok(()));
        assert_eq!(rules.check(ip("10.2.0.1")), Err("private"));
    }

    proptest! {
        /// The IPv6 spellings of an IPv4 address are judged as the address itself.
        #[test]
        fn disguises_do_not_help(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from(bits);
            let [high, low] = [(bits >> 16) as u16, bits as u16];
            let plain = forbidden(IpAddr::V4(v4)).is_some();
            for v6 in [
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            ] {
                prop_assert_eq!(forbidden(IpAddr::V6(v6)).is_some(), plain, "{}", v6);
            }
        }
    }
}
