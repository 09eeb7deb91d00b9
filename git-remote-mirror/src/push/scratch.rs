//! The scratch repository from which one push goes to upstream: its refs are the push.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use common::{git::config_file::quoted, protocol::Lease};

use crate::push::{outcome::NEW, send::Order};

/// A repository without objects of its own, whose refs are the push.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes it in the quarantine of the push.
    pub(crate) fn new(quarantine: &Path, url: &str, orders: &[Order<'_>]) -> io::Result<Self> {
        let dir = quarantine.join("push.git");
        fs::create_dir_all(dir.join("refs"))?;
        fs::write(dir.join("HEAD"), "ref: refs/heads/none\n")?;
        let format = orders
            .iter()
            .find_map(|order| order.command.new.as_ref().or(order.command.old.as_ref()))
            .map_or(0, String::len);
        let mut config = Vec::new();
        if format == 64 {
            config.extend_from_slice(b"[core]\n\trepositoryformatversion = 1\n\tbare = true\n");
            config.extend_from_slice(b"[extensions]\n\tobjectformat = sha256\n");
        } else {
            config.extend_from_slice(b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n");
        }
        config.extend_from_slice(b"[remote \"upstream\"]\n");
        let mut set = |key: &str, value: &[u8]| {
            config.extend_from_slice(
                &[b"\t", key.as_bytes(), b" = ", &quoted(value), b"\n"].concat(),
            );
        };
        set("url", url.as_bytes());
        set("fetch", b"refs/*:refs/old/*");
        if orders.iter().any(|order| order.command.new.is_some()) {
            set("push", b"refs/new/*:refs/*");
        }
        let mut refs = Vec::new();
        for order in orders {
            let Order { command, name, .. } = order;
            let rest = name.strip_prefix(b"refs/").unwrap_or(name);
            let mut add = |space: &[u8], oid: &str| {
                refs.push(([space, rest].concat(), oid.to_owned()));
            };
            command.new.iter().for_each(|new| add(NEW, new));
            if let Lease::Value(old) = &order.lease {
                add(b"refs/old/", old);
            }
            if command.new.is_none() {
                set("push", &[b":", name.as_slice()].concat());
            }
        }
        refs.sort();
        let mut packed = b"# pack-refs with: sorted \n".to_vec();
        for (name, oid) in refs {
            packed.extend_from_slice(&[oid.as_bytes(), b" ", &name, b"\n"].concat());
        }
        fs::write(dir.join("config"), config)?;
        fs::write(dir.join("packed-refs"), packed)?;
        Ok(Self(dir))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes down which repositories of others the user trusts: an upstream on this machine is looked at by a git of its
    /// own, which takes that from no environment.
    pub(crate) fn trust(&self, standing: &[(String, String)]) -> io::Result<PathBuf> {
        let mut config = b"[safe]\n".to_vec();
        for (_, directory) in standing.iter().filter(|(key, _)| key == "safe.directory") {
            config.extend([b"\tdirectory = ", &*quoted(directory.as_bytes()), b"\n"].concat());
        }
        let path = self.0.join("user.config");
        fs::write(&path, config)?;
        Ok(path)
    }
}
