//! The daemon's own settings and the defaults for new mirrors, in one file of git's syntax. `settings/mod.rs` says what each
//! means.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use common::protocol::{Failure, OrFailure, Setting};
use parking_lot::Mutex;

use crate::{
    mirrors::settings::{
        Rules,
        entries::{BadSetting, Entries, SECTION, full_key},
        file::ConfigFile,
        size::Budget,
        value::{Value, WebUrl},
    },
    process::durable,
};

/// Locked while the file is read, changed and written.
static FILE_LOCK: Mutex<()> = Mutex::new(());

/// The daemon's own settings. `settings/mod.rs` says what each means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// The defaults of new mirrors.
    pub defaults: Rules,
    /// `mirror.syncs`
    pub syncs: usize,
    /// `mirror.syncs-per-host`
    pub syncs_per_host: usize,
    /// `mirror.remind-after`
    pub remind_after: Duration,
    /// `mirror.keep-unused`; None is never.
    pub keep_unused: Option<Duration>,
    /// `mirror.disk-budget`
    pub disk_budget: Budget,
    /// `mirror.pass-through`
    pub pass_through: bool,
    /// `mirror.webhook` and the keys that begin with it.
    pub webhook: Webhook,
}

/// The settings of the webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Webhook {
    /// `mirror.webhook`
    pub on: bool,
    /// `mirror.webhook-listen`
    pub listen: SocketAddr,
    /// `mirror.webhook-public-url`
    pub public_url: WebUrl,
    /// `mirror.webhook-tls-cert`
    pub tls_cert: String,
    /// `mirror.webhook-tls-key`
    pub tls_key: String,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            on: false,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            public_url: WebUrl::default(),
            tls_cert: String::new(),
            tls_key: String::new(),
        }
    }
}

impl Webhook {
    /// Sets one of them.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), BadSetting> {
        Entries(self.values().into()).set(key, value)
    }

    fn values(&mut self) -> [(&'static str, &mut dyn Value); 5] {
        [
            ("webhook", &mut self.on),
            ("webhook-listen", &mut self.listen),
            ("webhook-public-url", &mut self.public_url),
            ("webhook-tls-cert", &mut self.tls_cert),
            ("webhook-tls-key", &mut self.tls_key),
        ]
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            defaults: Rules::default(),
            syncs: 16,
            syncs_per_host: 8,
            remind_after: Duration::from_secs(24 * 60 * 60),
            keep_unused: Some(Duration::from_secs(30 * 24 * 60 * 60)),
            disk_budget: Budget::default(),
            pass_through: true,
            webhook: Webhook::default(),
        }
    }
}

impl Config {
    /// Reads the file; if there is none, every setting has its default.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        Self::from_file(&open(path)?)
    }

    /// Reads one setting, as people type it.
    pub(crate) fn get(path: &Path, key: &str) -> Result<String, Failure> {
        let key = known_key(key)?;
        let mut config = Self::read(path)?;
        let mut shown = config.values().shown().into_iter();
        let value = shown.find(|(each, _)| *each == key);
        Ok(value.map(|(_, value)| value).unwrap_or_default())
    }

    /// Reads every setting.
    pub(crate) fn entries(path: &Path) -> Result<Vec<Setting>, Failure> {
        let file = open(path)?;
        let mut config = Self::from_file(&file)?;
        let entries = config.values().shown().into_iter().map(|(key, value)| {
            let is_default = file.values(&full_key(key)).is_empty();
            Setting {
                key: key.to_owned(),
                value,
                is_default,
            }
        });
        Ok(entries.collect())
    }

    /// Writes one setting.
    pub(crate) fn set(path: &Path, key: &str, value: &str) -> Result<(), Failure> {
        let key = known_key(key)?;
        let mut config = Self::default();
        config.values().set(key, value)?;
        let mut lines = config.values().lines().into_iter();
        let lines = lines.find(|(each, _)| *each == key);
        let lines = lines.map(|(_, lines)| lines).unwrap_or_default();
        let _lock = FILE_LOCK.lock();
        change(path, |file| file.put(&full_key(key), &lines))
    }

    /// Writes the settings of the webhook, in one write.
    pub(crate) fn set_webhook(path: &Path, webhook: &Webhook) -> Result<(), Failure> {
        let _lock = FILE_LOCK.lock();
        if Self::read(path)?.webhook == *webhook {
            return Ok(());
        }
        let (mut webhook, mut default) = (webhook.clone(), Webhook::default());
        let lines = Entries(webhook.values().into()).lines().into_iter();
        let defaults = Entries(default.values().into()).lines();
        change(path, |file| {
            lines
                .zip(defaults)
                .try_for_each(|((key, lines), (_, default))| {
                    let lines = if lines == default { &[][..] } else { &lines };
                    file.put(&full_key(key), lines)
                })
        })
    }

    /// Removes a setting from the file, so that it has its default. An unknown key that is in the file is removed, too.
    pub(crate) fn unset(path: &Path, key: &str) -> Result<(), Failure> {
        let _lock = FILE_LOCK.lock();
        let file = open(path)?;
        let mut names = file.names(SECTION).into_iter();
        let name = match names.find(|name| name.eq_ignore_ascii_case(key)) {
            Some(name) if !name.contains('.') => name,
            _ => known_key(key)?.to_owned(),
        };
        change(path, |file| file.put(&full_key(&name), &[]))
    }

    fn from_file(file: &ConfigFile) -> Result<Self, Failure> {
        for name in file.names(SECTION) {
            known_key(&name).map_err(|err| err.in_file(file))?;
        }
        let mut config = Self::default();
        config
            .values()
            .read(file)
            .map_err(|err| err.in_file(file))?;
        Ok(config)
    }

    /// Returns all of them by their keys, the defaults of new mirrors first.
    pub(super) fn values(&mut self) -> Entries<'_> {
        let Entries(mut values) = self.defaults.values();
        values.push(("syncs", &mut self.syncs));
        values.push(("syncs-per-host", &mut self.syncs_per_host));
        values.push(("remind-after", &mut self.remind_after));
        values.push(("keep-unused", &mut self.keep_unused));
        values.push(("disk-budget", &mut self.disk_budget));
        values.push(("pass-through", &mut self.pass_through));
        values.extend(self.webhook.values());
        Entries(values)
    }
}

/// Returns a known key as it is written in the file.
fn known_key(key: &str) -> Result<&'static str, BadSetting> {
    let keys = Config::default().values().keys();
    let found = keys.iter().find(|known| known.eq_ignore_ascii_case(key));
    found
        .copied()
        .ok_or_else(|| BadSetting::unknown_key(key, &keys))
}

fn open(path: &Path) -> Result<ConfigFile, Failure> {
    ConfigFile::read_or_new(&real_path(path)).map_err(|err| Failure::here(err.to_string()))
}

fn change(
    path: &Path,
    edit: impl FnOnce(&mut ConfigFile) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut file = open(path)?;
    let dir = file.path().parent().map_or(Ok(()), durable::make_dir);
    dir.and_then(|()| edit(&mut file))
        .and_then(|()| file.write())
        .or_failure(format_args!("cannot write '{}'", path.display()))
}

/// Returns the path of the file behind symbolic links, which a replacement of the file must not replace.
fn real_path(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
