//! Where registries may not be: addresses that are refused after resolution and as literals, on every hop.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolving};
use url::{Host, Url};

use super::{Proxies, Resolve, proxy};

/// The policy on addresses (REGISTRY.md rule 5).
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Loopback too.
    pub(super) allow_loopback: bool,
}

/// A host that is at an address where the operator does not go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} is at {address}: {why}")]
pub(super) struct Forbidden {
    pub(super) host: String,
    pub(super) address: String,
    pub(super) why: &'static str,
}

const LOOPBACK: &str = "loopback needs --allow-loopback-registries";
const METADATA: &str = "it is an address for cloud metadata";
const LINK_LOCAL: &str = "it is link-local, where cloud metadata is served";
const NOWHERE: &str = "it is not the address of one host";

impl Policy {
    /// Whether the operator may connect to `address`, and else why not.
    pub(super) fn check(self, address: IpAddr) -> Result<(), &'static str> {
        match address {
            IpAddr::V4(v4) => self.check_v4(v4),
            IpAddr::V6(v6) => self.check_v6(v6),
        }
    }

    fn check_v4(self, v4: Ipv4Addr) -> Result<(), &'static str> {
        // Those of Alibaba, Oracle and Azure are not link-local.
        const METADATA_V4: [Ipv4Addr; 3] = [
            Ipv4Addr::new(100, 100, 100, 200),
            Ipv4Addr::new(192, 0, 0, 192),
            Ipv4Addr::new(168, 63, 129, 16),
        ];
        match v4 {
            _ if v4.is_loopback() && !self.allow_loopback => Err(LOOPBACK),
            _ if v4.is_link_local() => Err(LINK_LOCAL),
            _ if METADATA_V4.contains(&v4) => Err(METADATA),
            _ if v4.octets()[0] == 0 || v4.is_multicast() || v4.is_broadcast() => Err(NOWHERE),
            _ => Ok(()),
        }
    }

    fn check_v6(self, v6: Ipv6Addr) -> Result<(), &'static str> {
        // Google's and Oracle's; all of fd00:ec2::/32 is AWS's own (::254 metadata, ::23 the
        // credentials of EKS Pods).
        const METADATA_V6: [Ipv6Addr; 2] = [
            Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
            Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
        ];
        match v6 {
            _ if v6.is_loopback() => {
                if self.allow_loopback {
                    Ok(())
                } else {
                    Err(LOOPBACK)
                }
            }
            _ if v6.is_unspecified() || v6.is_multicast() => Err(NOWHERE),
            _ if v6.is_unicast_link_local() => Err(LINK_LOCAL),
            _ if METADATA_V6.contains(&v6) => Err(METADATA),
            _ if v6.segments()[..2] == [0xfd00, 0xec2] => Err(METADATA),
            _ => embedded(v6).map_or(Ok(()), |v4| self.check_v4(v4)),
        }
    }

    /// Refuses a URL whose host is a literal address, or a name of this machine.
    pub(super) fn check_url(self, url: &Url) -> Result<(), Forbidden> {
        let (address, verdict) = match url.host() {
            Some(Host::Ipv4(v4)) => (v4.to_string(), self.check(v4.into())),
            Some(Host::Ipv6(v6)) => (v6.to_string(), self.check(v6.into())),
            Some(Host::Domain(name)) => match self.check_name(name) {
                Err(LOOPBACK) => ("loopback".into(), Err(LOOPBACK)),
                Err(NOWHERE) => ("no address".into(), Err(NOWHERE)),
                verdict => ("a metadata service".into(), verdict),
            },
            None => (String::new(), Ok(())),
        };
        let host = url.host_str().unwrap_or_default();
        verdict.map_err(|why| Forbidden { host: host.into(), address, why })
    }

    /// `localhost` is this machine, whatever a resolver says (RFC 6761), and clouds have names for
    /// their metadata.
    fn check_name(self, name: &str) -> Result<(), &'static str> {
        // Through a proxy, the name is all that is seen of these.
        const METADATA_NAMES: [&str; 5] = [
            "metadata.google.internal",
            "metadata.goog",
            "instance-data",
            "instance-data.ec2.internal",
            "metadata.tencentyun.com",
        ];
        let name = name.trim_end_matches('.');
        let local = name == "localhost" || name.ends_with(".localhost");
        match name {
            _ if local && !self.allow_loopback => Err(LOOPBACK),
            _ if METADATA_NAMES.contains(&name) => Err(METADATA),
            _ if proxy::is_alias(name) => Err(NOWHERE),
            _ => Ok(()),
        }
    }
}

/// The v4 address in a v4-mapped, v4-compatible, SIIT, NAT64 (RFC 6052, 8215), 6to4 or Teredo one,
/// where a connection may end.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => Some(v4(high, low)),
        // Teredo inverts the client's address.
        [0x2001, 0, _, _, _, _, high, low] => Some(v4(!high, !low)),
        _ => None,
    }
}

/// A resolver that gives only addresses that the policy allows, so that what was checked is what
/// is connected to. Where a proxy is, its admin has said.
#[derive(Clone)]
pub(super) struct Guarded {
    pub(super) policy: Policy,
    pub(super) resolve: Resolve,
    pub(super) proxies: Proxies,
}

impl reqwest::dns::Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        // Port 0 stands for the URL's.
        let at = |address| SocketAddr::new(address, 0);
        if let Some(proxy) = self.proxies.host(name.as_str()) {
            let resolving = (self.resolve)(proxy.into());
            return Box::pin(
                async move { Ok(Box::new(resolving.await?.into_iter().map(at)) as Addrs) },
            );
        }
        let (policy, host) = (self.policy, name.as_str().to_owned());
        let resolving = (self.resolve)(host.clone());
        Box::pin(async move {
            let found = resolving.await?;
            let mut forbidden = None;
            let mut allowed = Vec::new();
            for address in found {
                match policy.check(address) {
                    Ok(()) => allowed.push(at(address)),
                    Err(why) => {
                        let address = address.to_string();
                        forbidden.get_or_insert(Forbidden { host: host.clone(), address, why });
                    }
                }
            }
            match forbidden {
                Some(forbidden) if allowed.is_empty() => Err(forbidden.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// The system's resolver.
pub(super) async fn system(host: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const STRICT: Policy = Policy { allow_loopback: false };
    const LOCAL: Policy = Policy { allow_loopback: true };

    #[rstest]
    #[case("169.254.169.254", LINK_LOCAL)]
    #[case("169.254.0.1", LINK_LOCAL)]
    #[case("100.100.100.200", METADATA)]
    #[case("192.0.0.192", METADATA)]
    #[case("168.63.129.16", METADATA)]
    #[case("fd00:ec2::254", METADATA)]
    #[case("fd00:ec2::23", METADATA)]
    #[case("fd20:ce::254", METADATA)]
    #[case("fd00:c1::a9fe:a9fe", METADATA)]
    #[case("fe80::1", LINK_LOCAL)]
    #[case("febf::1", LINK_LOCAL)]
    #[case("0.0.0.0", NOWHERE)]
    #[case("0.1.2.3", NOWHERE)]
    #[case("::", NOWHERE)]
    #[case("224.0.0.1", NOWHERE)]
    #[case("255.255.255.255", NOWHERE)]
    #[case("ff02::1", NOWHERE)]
    #[case("::ffff:169.254.169.254", LINK_LOCAL)]
    #[case("::169.254.169.254", LINK_LOCAL)]
    #[case("64:ff9b::a9fe:a9fe", LINK_LOCAL)]
    #[case("64:ff9b:1::a9fe:a9fe", LINK_LOCAL)]
    #[case("::ffff:0:169.254.169.254", LINK_LOCAL)]
    #[case("2002:a9fe:a9fe::1", LINK_LOCAL)]
    #[case("2001:0:1:2:3:4:5601:5601", LINK_LOCAL)]
    #[case("2002:0000:0001::1", NOWHERE)]
    fn refused_whatever_the_flags(#[case] address: IpAddr, #[case] why: &str) {
        assert_eq!(STRICT.check(address), Err(why));
        assert_eq!(LOCAL.check(address), Err(why));
    }

    #[rstest]
    #[case("127.0.0.1")]
    #[case("127.1.2.3")]
    #[case("::1")]
    #[case("::ffff:127.0.0.1")]
    #[case("64:ff9b::7f00:1")]
    #[case("2002:7f00:1::")]
    fn loopback_needs_the_flag(#[case] address: IpAddr) {
        assert_eq!(STRICT.check(address), Err(LOOPBACK));
        assert_eq!(LOCAL.check(address), Ok(()));
    }

    #[rstest]
    #[case("http://metadata.google.internal/")]
    #[case("https://METADATA.google.internal.:8443/")]
    #[case("http://instance-data/")]
    fn metadata_by_name(#[case] url: Url) {
        assert_eq!(LOCAL.check_url(&url).unwrap_err().why, METADATA);
    }

    #[rstest]
    #[case("http://http-proxy.invalid:3128/")]
    #[case("https://HTTPS-PROXY.invalid./")]
    fn what_stands_for_a_proxy_is_no_host(#[case] url: Url) {
        assert_eq!(LOCAL.check_url(&url).unwrap_err().why, NOWHERE);
    }

    #[rstest]
    #[case("10.0.0.1")]
    #[case("192.168.1.1")]
    #[case("100.64.0.1")]
    #[case("198.51.100.7")]
    #[case("2001:db8::1")]
    #[case("fd00::1")]
    #[case("64:ff9b::c633:6407")]
    fn allowed(#[case] address: IpAddr) {
        assert_eq!(STRICT.check(address), Ok(()));
    }

    #[rstest]
    #[case("https://localhost:5000/", "loopback")]
    #[case("https://a.LOCALHOST./", "loopback")]
    #[case("https://127.1/", "127.0.0.1")]
    #[case("https://0x7f000001/", "127.0.0.1")]
    #[case("https://[::1]:443/", "::1")]
    fn literals_and_localhost(#[case] url: Url, #[case] address: &str) {
        assert_eq!(STRICT.check_url(&url).unwrap_err().address, address);
        assert_eq!(LOCAL.check_url(&url), Ok(()));
    }
}
