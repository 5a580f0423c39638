//! One download over HTTP: redirects, proxies, going on where an earlier one stopped. Nothing here
//! knows what is downloaded.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use bitreq::{Proxy, ResponseLazy};

use crate::Usage;

/// A download that is cut goes on as long as each attempt brings something, this often.
const MOST_ATTEMPTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(300);
/// One attempt, from looking up the host to the last byte.
const TIMEOUT: Duration = Duration::from_secs(120);
const MOST_REDIRECTS: usize = 5;

/// Why a file could not be had, and what can be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error(
        "{address} cannot be reached{via}: {reason}\n  Check the connection; behind a proxy, set \
         HTTPS_PROXY (HTTP_PROXY for http addresses)."
    )]
    Unreachable { address: String, via: String, reason: String },
    #[error(
        "the proxy {proxy} does not connect to {address}: {reason}\n  Check HTTPS_PROXY \
         (HTTP_PROXY for http addresses), user and password in it included."
    )]
    Refused { address: String, proxy: String, reason: String },
    #[error("{address}: the server answers {status}\n  {}", advice(*status))]
    Status { address: String, status: i32 },
    #[error(
        "{} answer 404: the file has moved\n  docs/data.md says what it is.",
        addresses.join(" and ")
    )]
    NotServed { addresses: Vec<String> },
    #[error(
        "{address}: the connection ended after {bytes} bytes: {reason}\n  What came is kept: the \
         same command goes on from there."
    )]
    Cut { address: String, bytes: u64, reason: String },
    #[error("{address}: {reason}\n  Is a login page of this network in between?")]
    Redirects { address: String, reason: String },
    #[error(
        "{address} has more than {most} bytes, so it is not this file\n  Nothing of it is kept."
    )]
    TooLong { address: String, most: u64 },
    #[error(
        "{address}: what came is not this file: {found}, expected {expected}\n  Nothing of it is \
         kept. The file was changed there, or something in between answered, such as a login page."
    )]
    Wrong { address: String, found: String, expected: String },
    #[error("cannot write {}: {source}", path.display())]
    Disk { path: PathBuf, source: std::io::Error },
    #[error("no Python with pip was found\n  Install it, or run where it is:\n  {command}")]
    NoPip { command: String },
    #[error("{reason}\n  The command was: {command}")]
    Pip { reason: String, command: String },
}

fn advice(status: i32) -> &'static str {
    match status {
        403 | 429 => "It may let nobody in, or too many came from here: try again later.",
        500.. => "It has a problem of its own: try again later.",
        _ => "docs/data.md says what the file is.",
    }
}

/// Makes downloads, through a proxy if there is one.
#[derive(Debug)]
pub(crate) struct Http {
    /// With host and port, as they are shown; never with a password.
    proxy: Option<(Proxy, String)>,
}

impl Http {
    /// For addresses that begin like this one; `variable` reads the environment.
    ///
    /// # Errors
    /// A proxy that cannot be used.
    pub(crate) fn new(
        address: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        let own: [&str; 2] = if address.starts_with("https://") {
            ["HTTPS_PROXY", "https_proxy"]
        } else {
            ["HTTP_PROXY", "http_proxy"]
        };
        for name in own.into_iter().chain(["ALL_PROXY", "all_proxy"]) {
            if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
                return Ok(Self { proxy: Some(proxy(name, &value)?) });
            }
        }
        Ok(Self { proxy: None })
    }

    /// Downloads what is at `address` into the file `part`, of at most `most` bytes; `whole` of
    /// them if its size is known. If the file is there already, only what it lacks is asked for.
    pub(crate) fn download(
        &self,
        address: &str,
        part: &Path,
        most: u64,
        whole: Option<u64>,
    ) -> Result<(), Problem> {
        let mut attempt = 1;
        loop {
            let before = length(part);
            match self.attempt(address, part, most, whole) {
                Err(Problem::Cut { .. }) if length(part) > before && attempt < MOST_ATTEMPTS => {
                    attempt += 1;
                    thread::sleep(PAUSE);
                }
                done => return done,
            }
        }
    }

    fn attempt(
        &self,
        address: &str,
        part: &Path,
        most: u64,
        whole: Option<u64>,
    ) -> Result<(), Problem> {
        let disk = |source| Problem::Disk { path: part.to_owned(), source };
        let have = length(part);
        let mut response = self.ask(address, have)?;
        let (file, start) = match response.status_code {
            200 => (File::create(part).map_err(disk)?, 0),
            206 if have > 0 && range_start(&response) == Some(have) => {
                (OpenOptions::new().append(true).open(part).map_err(disk)?, have)
            }
            // More is there than the server has, or it sends another piece: from the start, then.
            206 | 416 if have > 0 => {
                fs::remove_file(part).map_err(disk)?;
                return self.attempt(address, part, most, whole);
            }
            status => return Err(Problem::Status { address: address.to_owned(), status }),
        };
        let announced = header(&response, "content-length").and_then(|text| text.parse().ok());
        let expected = announced.map(|length: u64| start.saturating_add(length)).or(whole);
        let mut file = BufWriter::new(file);
        let mut bytes = start;
        let mut reason = "it was closed too early".to_owned();
        for next in &mut response {
            match next {
                Ok((byte, _)) => {
                    bytes += 1;
                    if bytes > most {
                        drop(file);
                        fs::remove_file(part).map_err(disk)?;
                        return Err(Problem::TooLong { address: address.to_owned(), most });
                    }
                    file.write_all(&[byte]).map_err(disk)?;
                }
                Err(error) => {
                    reason = error.to_string();
                    break;
                }
            }
        }
        // On the disk before it can get its final name.
        let file = file.into_inner().map_err(|error| disk(error.into_error()))?;
        file.sync_all().map_err(disk)?;
        if expected.is_some_and(|expected| bytes < expected) {
            return Err(Problem::Cut { address: address.to_owned(), bytes, reason });
        }
        Ok(())
    }

    /// The answer to a request for what comes after the first `have` bytes.
    fn ask(&self, address: &str, have: u64) -> Result<ResponseLazy, Problem> {
        let mut request = bitreq::get(address)
            .with_header("User-Agent", "headwater")
            .with_header("Accept-Encoding", "identity")
            .with_header("Connection", "close")
            .with_timeout(TIMEOUT)
            .with_max_redirects(MOST_REDIRECTS);
        if have > 0 {
            request = request.with_header("Range", format!("bytes={have}-"));
        }
        if let Some((proxy, _)) = &self.proxy {
            request = request.with_proxy(proxy.clone());
        }
        request.send_lazy().map_err(|error| self.problem(address, &error))
    }

    fn problem(&self, address: &str, error: &bitreq::Error) -> Problem {
        use bitreq::Error as E;
        let (address, reason) = (address.to_owned(), error.to_string());
        match (error, &self.proxy) {
            (
                E::InfiniteRedirectionLoop | E::TooManyRedirections | E::RedirectLocationMissing,
                _,
            ) => Problem::Redirects { address, reason },
            (
                E::BadProxy | E::BadProxyCreds | E::ProxyConnect | E::InvalidProxyCreds,
                Some((_, proxy)),
            ) => Problem::Refused { address, proxy: proxy.clone(), reason },
            (_, proxy) => {
                let via = proxy.as_ref().map(|(_, shown)| format!(" through the proxy {shown}"));
                Problem::Unreachable { address, via: via.unwrap_or_default(), reason }
            }
        }
    }
}

/// A proxy from the value of a variable, and what may be shown of it: the value may hold a
/// password.
fn proxy(name: &str, value: &str) -> anyhow::Result<(Proxy, String)> {
    let value = value.trim_end_matches('/');
    let (scheme, authority) = value.split_once("://").unwrap_or(("http", value));
    let (user, server) = match authority.rsplit_once('@') {
        Some((user, server)) => (Some(user), server),
        None => (None, authority),
    };
    let made = match scheme {
        "http" => Proxy::new_http(server),
        "socks5" | "socks5h" => Proxy::new_socks5(server),
        _ => Err(bitreq::Error::BadProxy),
    };
    let made = made.and_then(|mut proxy| {
        if let Some(user) = user {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            proxy.set_credentials(user.to_owned(), password.to_owned())?;
        }
        Ok(proxy)
    });
    match made {
        Ok(proxy) if !server.is_empty() => Ok((proxy, server.to_owned())),
        _ => Err(Usage(format!(
            "{name}: allowed is http://[USER:PASSWORD@]HOST[:PORT] or socks5:// in place of http://"
        ))
        .into()),
    }
}

/// Size of a file; 0 where there is none.
pub(crate) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

fn header<'a>(response: &'a ResponseLazy, name: &str) -> Option<&'a str> {
    response.headers.get(name).map(|value| value.trim())
}

/// Where the piece that is sent begins: `bytes 5-9/10` begins at 5.
fn range_start(response: &ResponseLazy) -> Option<u64> {
    let range = header(response, "content-range")?.strip_prefix("bytes ")?;
    range.split('-').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> anyhow::Result<Http> {
        Http::new("https://example.org", move |asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn the_proxy_is_that_of_the_scheme_and_its_password_is_never_shown() {
        let shown = |http: Http| http.proxy.map(|(_, shown)| shown);
        let secret = with("HTTPS_PROXY", "http://me:se@cret@proxy.example:3128/").unwrap();
        assert_eq!(shown(secret).as_deref(), Some("proxy.example:3128"));
        for name in ["https_proxy", "ALL_PROXY", "all_proxy"] {
            let proxy = with(name, "socks5h://127.0.0.1:9050").unwrap();
            assert_eq!(shown(proxy).as_deref(), Some("127.0.0.1:9050"), "{name}");
        }
        assert!(with("HTTP_PROXY", "http://proxy.example").unwrap().proxy.is_none());
        assert!(with("HTTPS_PROXY", "").unwrap().proxy.is_none());
        let error = with("HTTPS_PROXY", "ftp://me:secret@proxy.example").unwrap_err();
        assert!(error.is::<Usage>());
        let error = error.to_string();
        assert!(error.starts_with("HTTPS_PROXY: allowed is http://"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(with("HTTPS_PROXY", "http://proxy.example:port").is_err());
    }
}
