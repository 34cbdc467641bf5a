//! Where webhooks may lead: which URLs, and which addresses behind them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::address::{AddressRange, reserved_for};

/// Where webhooks may lead. Whoever registers a URL makes this program call it, from inside its
/// network; so only public addresses are called, and only by `https`, unless more is allowed.
///
/// ```
/// use annals_webhooks::Reach;
///
/// let reach = Reach::public().allowing("10.20.0.0/16".parse()?);
/// # Ok::<(), annals_webhooks::InvalidRange>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Reach {
    allowed: Vec<AddressRange>,
    http: bool,
}

impl Reach {
    /// The public network, by `https`.
    #[must_use]
    pub fn public() -> Self {
        Self::default()
    }

    /// And these addresses, whatever they are for.
    #[must_use]
    pub fn allowing(mut self, range: AddressRange) -> Self {
        self.allowed.push(range);
        self
    }

    /// And `http`, where everybody on the way can read the events.
    #[must_use]
    pub fn allowing_http(mut self) -> Self {
        self.http = true;
        self
    }

    /// And this machine itself, by `http` too: for tests and trials.
    #[must_use]
    pub fn allowing_loopback(self) -> Self {
        self.allowing(AddressRange::new(Ipv4Addr::LOCALHOST.into(), 8))
            .allowing(AddressRange::new(Ipv6Addr::LOCALHOST.into(), 128))
            .allowing_http()
    }

    /// Checks a URL by what can be seen of it; where its host leads is seen when it is called.
    ///
    /// # Errors
    /// [`InvalidEndpoint`]: choose another URL, or allow this one.
    pub fn check_url(&self, text: &str) -> Result<Url, InvalidEndpoint> {
        if text.len() > URL_BYTES_MAX {
            return Err(InvalidEndpoint::TooLong { actual: text.len() });
        }
        let url = Url::parse(text).map_err(InvalidEndpoint::Malformed)?;
        match url.scheme() {
            "https" => {}
            "http" if self.http => {}
            "http" => return Err(InvalidEndpoint::NotHttps),
            _ => return Err(InvalidEndpoint::Scheme { scheme: url.scheme().to_owned() }),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidEndpoint::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(InvalidEndpoint::Fragment);
        }
        match url.host() {
            Some(Host::Ipv4(address)) => self.check_address(address.into())?,
            Some(Host::Ipv6(address)) => self.check_address(address.into())?,
            Some(Host::Domain(_)) => {}
            None => return Err(InvalidEndpoint::NoHost),
        }
        Ok(url)
    }

    /// Checks an address that is about to be called.
    ///
    /// # Errors
    /// When it is not public, and not allowed.
    pub fn check_address(&self, address: IpAddr) -> Result<(), NotPublic> {
        if self.allowed.iter().any(|range| range.contains(address)) {
            return Ok(());
        }
        reserved_for(address).map_or(Ok(()), |purpose| Err(NotPublic { address, purpose }))
    }
}

/// The most bytes of a URL.
pub const URL_BYTES_MAX: usize = 2048;

/// An address that is not called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} is reserved for {purpose}; if it is meant, allow its range with `Reach::allowing`"
)]
pub struct NotPublic {
    address: IpAddr,
    purpose: &'static str,
}

/// A URL that is not called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEndpoint {
    /// It names an address that is not public.
    #[error(transparent)]
    Address(#[from] NotPublic),
    /// It has a part behind `#`, which is never sent.
    #[error("the URL has a part behind `#`, which is never sent; leave it out")]
    Fragment,
    /// It is no URL.
    #[error("it is no URL; write it like https://example.com/hooks")]
    Malformed(#[source] url::ParseError),
    /// It has no host.
    #[error("the URL has no host")]
    NoHost,
    /// It is `http`, and that is not allowed.
    #[error(
        "the URL begins with http, by which everybody on the way can read the events; use https"
    )]
    NotHttps,
    /// It is neither `https` nor `http`.
    #[error("the URL begins with {scheme}; use https")]
    Scheme {
        /// What it begins with.
        scheme: String,
    },
    /// It is too long.
    #[error("the URL has {actual} bytes; at most {URL_BYTES_MAX} are allowed")]
    TooLong {
        /// How many bytes it has.
        actual: usize,
    },
    /// It has a user name or a password, which would stand in the log.
    #[error("the URL has a user name or a password; receivers know the sender by its signature")]
    UserInfo,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        Reach::public().check_url(url).expect_err(url).to_string()
    }

    #[test]
    fn addresses_are_seen_through_however_they_are_written() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "0x7f000001",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "１２７.0.0.1",
            "0",
            "10.1",
            "169.254.169.254",
            "2852039166",
            "[fd00:ec2::254]",
            "127.0.0.1.",
        ] {
            let message = refused(&format!("https://{host}/hook"));
            assert!(message.contains("is reserved for"), "{host}: {message}");
        }
        Reach::public().check_url("https://8.8.8.8/hook").unwrap();
        Reach::public().check_url("https://example.com:8443/hook?a=b").unwrap();
    }

    #[test]
    fn only_https_without_secrets_in_it_is_called() {
        assert!(refused("http://example.com/").ends_with("use https"));
        assert!(refused("file:///etc/passwd").ends_with("begins with file; use https"));
        assert!(refused("gopher://example.com/").contains("gopher"));
        assert!(refused("https://ada@example.com/").contains("user name"));
        assert!(refused("https://:secret@example.com/").contains("password"));
        assert!(refused("https://example.com/#part").contains("behind `#`"));
        assert!(refused("example.com").contains("no URL"));
        let long = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX));
        assert!(refused(&long).contains("at most 2048"));
    }

    #[test]
    fn what_is_allowed_is_called() {
        let reach = Reach::public().allowing_loopback();
        reach.check_url("http://127.0.0.1:80/").unwrap();
        reach.check_url("http://[::1]/").unwrap();
        reach.check_url("https://10.0.0.1/").unwrap_err();
        let reach = Reach::public().allowing("10.0.0.0/8".parse().unwrap());
        reach.check_url("https://10.0.0.1/").unwrap();
        reach.check_url("http://10.0.0.1/").unwrap_err();
    }
}
