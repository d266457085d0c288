//! The command line: Spin's names where Spin has the option.

use std::net::SocketAddr;
use std::path::PathBuf;

pub const USAGE: &str = "usage: holdfast-spin-host COMPONENTS --policy FILE --cache FOLDER [--listen ADDRESS] [--proxy FILE] \
     [--max-instance-reuse-count N] [--max-instance-concurrent-reuse-count N] [--optimise yes|no]";

pub struct Options {
    /// The folder that `cargo xtask build` fills.
    pub components: PathBuf,
    /// Instead of `proxy.wasm`.
    pub proxy: Option<PathBuf>,
    pub policy: PathBuf,
    /// Compiled code.
    pub cache: PathBuf,
    pub listen: SocketAddr,
    /// Requests that an instance serves before it goes.
    pub reuse: usize,
    /// Requests that an instance serves at once.
    pub concurrent: usize,
    /// Whether code should run fast, or be compiled fast.
    pub optimise: bool,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let (mut components, mut proxy, mut policy, mut cache) = (None, None, None, None);
        let mut listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let (mut reuse, mut concurrent, mut optimise) = (128, 16, true);
        while let Some(argument) = arguments.next() {
            if !argument.starts_with("--") {
                components = Some(PathBuf::from(argument));
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{argument} takes a value"))?;
            let wrong = || format!("{argument}: {value} can't be read");
            match argument.as_str() {
                "--policy" => policy = Some(PathBuf::from(value)),
                "--proxy" => proxy = Some(PathBuf::from(value)),
                "--cache" => cache = Some(PathBuf::from(value)),
                "--listen" => listen = value.parse().map_err(|_| wrong())?,
                "--max-instance-reuse-count" => reuse = value.parse().map_err(|_| wrong())?,
                "--max-instance-concurrent-reuse-count" => concurrent = value.parse().map_err(|_| wrong())?,
                "--optimise" => {
                    optimise = match value.as_str() {
                        "yes" => true,
                        "no" => false,
                        _ => return Err(wrong()),
                    };
                }
                _ => return Err(format!("there is no option {argument}")),
            }
        }
        Ok(Options {
            components: components.ok_or("COMPONENTS is missing")?,
            proxy,
            policy: policy.ok_or("--policy is missing")?,
            cache: cache.ok_or("--cache is missing")?,
            listen,
            reuse,
            concurrent,
            optimise,
        })
    }
}
