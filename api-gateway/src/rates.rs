//! How much one caller may ask for: a bucket for each subject and one for each address (GCRA, by `governor`).

use std::{
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use contract::{Code, Problem};
use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};
use values::CustomerId;

use crate::config::Config;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// Buckets of all callers, shared by all threads.
pub(crate) struct Rates {
    subjects: Option<Buckets<CustomerId>>,
    addresses: Option<Buckets<IpAddr>>,
    trusted_proxies: Vec<IpAddr>,
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").field("trusted_proxies", &self.trusted_proxies).finish_non_exhaustive()
    }
}

struct Buckets<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, DashMapStateStore<K>, DefaultClock, StateInformationMiddleware>,
    name: &'static str,
    rate: u32,
    burst: u32,
}

/// Where a caller stands, for the headers of the answer. Source: draft-ietf-httpapi-ratelimit-headers-11.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    name: &'static str,
    rate: u32,
    burst: u32,
    left: u32,
}

impl Standing {
    /// Writes `RateLimit-Policy` and `RateLimit`.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Self { name, rate, burst, left } = self;
        let seconds = |requests: u32| requests.div_ceil(*rate).max(1);
        let policy = format!("\"{name}\";q={burst};w={}", seconds(*burst));
        let standing = format!("\"{name}\";r={left};t={}", seconds(burst.saturating_sub(*left)));
        for (header, text) in [(POLICY, policy), (LEFT, standing)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(header, value);
            }
        }
    }
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// None where the rate is 0: no limit.
    fn new(name: &'static str, rate: u32, burst: u32) -> Option<Self> {
        let quota = Quota::per_second(NonZeroU32::new(rate)?).allow_burst(NonZeroU32::new(burst)?);
        let limiter = RateLimiter::dashmap(quota).with_middleware::<StateInformationMiddleware>();
        Some(Self { limiter, name, rate, burst })
    }

    fn take(&self, key: &K) -> (Standing, Result<(), Duration>) {
        let (left, result) = match self.limiter.check_key(key) {
            Ok(state) => (state.remaining_burst_capacity(), Ok(())),
            Err(until) => (0, Err(until.wait_time_from(DefaultClock::default().now()))),
        };
        (Standing { name: self.name, rate: self.rate, burst: self.burst, left }, result)
    }
}

impl Rates {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            subjects: Buckets::new("subject", config.subject_rate, config.subject_burst),
            addresses: Buckets::new("address", config.address_rate, config.address_burst),
            trusted_proxies: config.trusted_proxies.0.clone(),
        }
    }

    /// Takes one request from the bucket of the address it comes from, and says in `standing` what is left.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(crate) fn address(&self, peer: Option<SocketAddr>, headers: &HeaderMap, standing: &mut Option<Standing>) -> Result<(), Problem> {
        let (Some(buckets), Some(peer)) = (&self.addresses, peer) else { return Ok(()) };
        charge(buckets, &network(self.origin(peer.ip(), headers)), standing)
    }

    /// Takes one request from the bucket of the subject.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(crate) fn subject(&self, subject: &CustomerId, standing: &mut Option<Standing>) -> Result<(), Problem> {
        self.subjects.as_ref().map_or(Ok(()), |buckets| charge(buckets, subject, standing))
    }

    /// Forgets buckets that are full again. To be called now and then, or memory grows with every caller there ever was.
    pub(crate) fn forget(&self) {
        if let Some(buckets) = &self.subjects {
            buckets.limiter.retain_recent();
        }
        if let Some(buckets) = &self.addresses {
            buckets.limiter.retain_recent();
        }
    }

    /// The client's address: the peer's, or what the last proxy of ours says of its own.
    fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusted_proxies.contains(&peer) {
            return peer;
        }
        let values = headers.get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
        let hops: Vec<IpAddr> = values.flat_map(|value| value.split(',')).map_while(|hop| hop.trim().parse().ok()).collect();
        hops.into_iter().rev().find(|hop| !self.trusted_proxies.contains(hop)).unwrap_or(peer)
    }
}

fn charge<K: Hash + Eq + Clone>(buckets: &Buckets<K>, key: &K, standing: &mut Option<Standing>) -> Result<(), Problem> {
    let (now, result) = buckets.take(key);
    *standing = Some(now);
    result.map_err(|wait| {
        let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
        Problem::new(Code::RateLimited).with_retry_after_seconds(seconds)
    })
}

/// Who has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & (u128::MAX << 64))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_is_one_caller() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }

    #[test]
    fn a_forwarded_address_is_believed_from_our_proxies_only() {
        let rates =
            Rates { subjects: None, addresses: None, trusted_proxies: vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()] };
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static("6.6.6.6, 1.2.3.4, 10.0.0.2"));
        let origin = |peer: &str| rates.origin(peer.parse().unwrap(), &headers).to_string();
        assert_eq!(origin("10.0.0.1"), "1.2.3.4");
        assert_eq!(origin("9.9.9.9"), "9.9.9.9");
        assert_eq!(rates.origin("10.0.0.1".parse().unwrap(), &HeaderMap::new()).to_string(), "10.0.0.1");
    }
}
