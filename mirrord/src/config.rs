//! The daemon's own settings and the defaults for new mirrors, in one file of git's syntax. `settings.rs` says what each
//! means.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use common::protocol::Failure;

use crate::{
    durable,
    settings::{
        Rules,
        entries::{BadSetting, Entries, SECTION, full},
        file::ConfigFile,
        value::{Value, WebUrl},
    },
};

/// Held while the file is read, changed and written.
static WRITING: Mutex<()> = Mutex::new(());

/// What the daemon is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// What new mirrors are told.
    pub defaults: Rules,
    /// `mirror.syncs`
    pub syncs: usize,
    /// `mirror.syncs-per-host`
    pub syncs_per_host: usize,
    /// `mirror.remind-after`
    pub remind_after: Duration,
    /// `mirror.webhook` and what begins with it.
    pub webhook: Webhook,
}

/// How the webhook listens, if it does.
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
    /// Changes one of them.
    ///
    /// # Errors
    /// Fails when there is no such setting or value, and changes nothing.
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
            webhook: Webhook::default(),
        }
    }
}

impl Config {
    /// Reads the file; where there is none, everything has its default.
    ///
    /// # Errors
    /// Fails when it cannot be read, or holds a key or a value that there is not.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        Self::of(&open(path)?)
    }

    /// The value of one setting, as it would be typed.
    ///
    /// # Errors
    /// Fails when there is no such setting, or the file cannot be read.
    pub(crate) fn get(path: &Path, key: &str) -> Result<String, Failure> {
        let key = known(key)?;
        let mut config = Self::read(path)?;
        let mut shown = config.values().shown().into_iter();
        let value = shown.find(|(each, _)| *each == key);
        Ok(value.map(|(_, value)| value).unwrap_or_default())
    }

    /// Every setting, its value as it would be typed, and whether that is so because the file says nothing of it.
    ///
    /// # Errors
    /// Fails when the file cannot be read.
    pub(crate) fn entries(path: &Path) -> Result<Vec<(&'static str, String, bool)>, Failure> {
        let file = open(path)?;
        let mut config = Self::of(&file)?;
        let entries = config.values().shown().into_iter().map(|(key, value)| {
            let is_default = file.values(&full(key)).is_empty();
            (key, value, is_default)
        });
        Ok(entries.collect())
    }

    /// Writes one setting.
    ///
    /// # Errors
    /// Fails when there is no such setting or value, or the file cannot be changed; it is then as it was.
    pub(crate) fn set(path: &Path, key: &str, value: &str) -> Result<(), Failure> {
        let key = known(key)?;
        let mut config = Self::default();
        config.values().set(key, value)?;
        let mut lines = config.values().lines().into_iter();
        let lines = lines.find(|(each, _)| *each == key);
        let lines = lines.map(|(_, lines)| lines).unwrap_or_default();
        let _turn = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        change(path, |file| file.put(&full(key), &lines))
    }

    /// Writes how the webhook listens, all of it at once.
    ///
    /// # Errors
    /// Fails when the file cannot be changed; it is then as it was.
    pub(crate) fn set_webhook(path: &Path, webhook: &Webhook) -> Result<(), Failure> {
        let _turn = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
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
                    file.put(&full(key), lines)
                })
        })
    }

    /// Gives a setting its default again. One that is unknown can be taken out of the file where it stands in it.
    ///
    /// # Errors
    /// Fails when there is no such setting, or the file cannot be changed; it is then as it was.
    pub(crate) fn unset(path: &Path, key: &str) -> Result<(), Failure> {
        let _turn = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let file = open(path)?;
        let mut names = file.names(SECTION).into_iter();
        let name = match names.find(|name| name.eq_ignore_ascii_case(key)) {
            Some(name) if !name.contains('.') => name,
            _ => known(key)?.to_owned(),
        };
        change(path, |file| file.put(&full(&name), &[]))
    }

    fn of(file: &ConfigFile) -> Result<Self, Failure> {
        for name in file.names(SECTION) {
            known(&name).map_err(|err| err.within(file))?;
        }
        let mut config = Self::default();
        config.values().read(file).map_err(|err| err.within(file))?;
        Ok(config)
    }

    fn values(&mut self) -> Entries<'_> {
        let Entries(mut values) = self.defaults.values();
        values.push(("syncs", &mut self.syncs));
        values.push(("syncs-per-host", &mut self.syncs_per_host));
        values.push(("remind-after", &mut self.remind_after));
        values.extend(self.webhook.values());
        Entries(values)
    }
}

/// A key as we write it.
fn known(key: &str) -> Result<&'static str, BadSetting> {
    let keys = Config::default().values().keys();
    let found = keys.iter().find(|known| known.eq_ignore_ascii_case(key));
    found.copied().ok_or_else(|| BadSetting::key(key, &keys))
}

fn open(path: &Path) -> Result<ConfigFile, Failure> {
    ConfigFile::read_or_new(&real(path)).map_err(|err| Failure::here(err.to_string()))
}

fn change(
    path: &Path,
    edit: impl FnOnce(&mut ConfigFile) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut file = open(path)?;
    let dir = file.path().parent().map_or(Ok(()), durable::make_dir);
    dir.and_then(|()| edit(&mut file))
        .and_then(|()| file.write())
        .map_err(|err| Failure::io(&format!("cannot write '{}'", path.display()), &err))
}

/// Where the file lies: people keep such files elsewhere and link to them, and the link is theirs.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("config");
        (dir, path)
    }

    fn written(content: &str) -> (tempfile::TempDir, PathBuf) {
        let (dir, path) = place();
        fs::write(&path, content).expect("written");
        (dir, path)
    }

    #[test]
    fn without_a_file_everything_has_its_default() {
        let (_dir, path) = place();
        assert_eq!(Config::read(&path).expect("absent"), Config::default());
        let entries = Config::entries(&path).expect("absent");
        assert!(entries.iter().all(|(_, _, is_default)| *is_default));
        let shown: Vec<String> = entries
            .into_iter()
            .map(|(key, value, _)| format!("{key}={value}"))
            .collect();
        let expected = [
            "track=+refs/heads/*:refs/heads/* +refs/tags/*:refs/tags/*",
            "every=1h",
            "sync-on-fetch=yes",
            "fresh-for=0s",
            "stale=serve",
            "stale-after=10s",
            "atomic=auto",
            "push=yes",
            "keep-history=30d",
            "fsck=no",
            "link=auto",
            "syncs=16",
            "syncs-per-host=8",
            "remind-after=1d",
            "webhook=no",
            "webhook-listen=127.0.0.1:0",
            "webhook-public-url=",
            "webhook-tls-cert=",
            "webhook-tls-key=",
        ];
        assert_eq!(shown, expected);
        assert!(!path.exists(), "to ask is to write nothing");
    }

    #[test]
    fn what_is_set_is_kept_until_it_is_unset() {
        let (dir, _) = place();
        let path = dir.path().join("new/folder/config");
        Config::set(&path, "fresh-for", "600s").expect("a setting");
        Config::set(&path, "SYNCS", "4").expect("a setting");
        assert_eq!(Config::get(&path, "fresh-for").expect("readable"), "10m");
        let config = Config::read(&path).expect("readable");
        assert_eq!(config.defaults.fresh_for, Duration::from_secs(600));
        assert_eq!(config.syncs, 4);
        let own: Vec<_> = Config::entries(&path)
            .expect("readable")
            .into_iter()
            .filter(|(_, _, is_default)| !is_default)
            .map(|(key, ..)| key)
            .collect();
        assert_eq!(own, ["fresh-for", "syncs"]);
        for key in ["fresh-for", "syncs", "push"] {
            Config::unset(&path, key).expect("a setting");
        }
        assert_eq!(Config::read(&path).expect("readable"), Config::default());
    }

    #[test]
    fn comments_and_what_is_not_ours_stay() {
        let before = "# how I like it\n[mirror]\n\t# CI is slow\n\tstale = fail # really\n[alias]\n\tx = y\n";
        let (_dir, path) = written(before);
        Config::set(&path, "stale", "serve").expect("a setting");
        Config::set(
            &path,
            "track",
            "refs/heads/a:refs/heads/a refs/heads/b:refs/heads/b",
        )
        .expect("a setting");
        Config::unset(&path, "track").expect("a setting");
        let after = fs::read_to_string(&path).expect("readable");
        assert_eq!(after, before.replace("fail", "serve"));
    }

    #[test]
    fn a_bad_file_is_named_with_what_is_bad_in_it() {
        for (content, said, hint) in [
            (
                "[mirror]\nfreshfor = 1m\n",
                "unknown setting 'freshfor' in '",
                "'fresh-for'",
            ),
            (
                "[mirror]\nname = x\n",
                "unknown setting 'name' in '",
                "'remind-after'",
            ),
            (
                "[mirror \"x\"]\npush = no\n",
                "unknown setting 'x.push' in '",
                "'push'",
            ),
            (
                "[mirror]\nsyncs = 0\n",
                "'0' is not a value of 'syncs' in '",
                "a number from 1 to",
            ),
            (
                "[mirror]\npush = yse\n",
                "'yse' is not a value of 'push' in '",
                "'yes'",
            ),
            (
                "[mirror]\npush = no\n[mirror\n",
                "bad config line 3 in '",
                "",
            ),
            ("\0", "bad config line 1 in '", ""),
        ] {
            let (_dir, path) = written(content);
            let failure = Config::read(&path).expect_err(content);
            assert!(failure.message.contains(said), "{failure}");
            assert!(
                failure.message.contains(&path.display().to_string()),
                "{failure}"
            );
            assert!(failure.hint.unwrap_or_default().contains(hint), "{content}");
        }
    }

    #[test]
    fn what_there_is_not_can_be_neither_set_nor_asked() {
        let (_dir, path) = place();
        for failure in [
            Config::set(&path, "remind", "1d").expect_err("unknown"),
            Config::unset(&path, "remind").expect_err("unknown"),
            Config::get(&path, "remind").expect_err("unknown"),
        ] {
            assert_eq!(failure.message, "unknown setting 'remind'");
            assert_eq!(
                failure.hint.as_deref(),
                Some("did you mean 'remind-after'?")
            );
        }
        Config::set(&path, "syncs", "many").expect_err("no number");
        Config::set(&path, "description", "x").expect_err("every mirror has its own");
        assert!(!path.exists());
    }

    #[test]
    fn how_the_webhook_listens_is_written_as_a_whole_and_without_its_defaults() {
        let (_dir, path) = written("# mine\n[mirror]\n\tsyncs = 2\n");
        let before = fs::read_to_string(&path).expect("readable");
        Config::set_webhook(&path, &Webhook::default()).expect("nothing to do");
        assert_eq!(fs::read_to_string(&path).expect("readable"), before);
        let mut webhook = Webhook::default();
        for (key, value) in [
            ("webhook", "yes"),
            ("webhook-listen", "[::1]:4711"),
            ("webhook-public-url", "https://hooks.example/mirror"),
            ("webhook-tls-cert", "/etc/a certificate;#.pem"),
            ("webhook-tls-key", "/etc/key.pem"),
        ] {
            webhook.set(key, value).expect("a setting");
        }
        Config::set_webhook(&path, &webhook).expect("written");
        assert_eq!(Config::read(&path).expect("readable").webhook, webhook);
        Config::set_webhook(&path, &Webhook::default()).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("readable"), before);
    }

    #[test]
    fn what_makes_the_file_bad_can_be_taken_out() {
        let (_dir, path) = written("[mirror]\n\tfreshfor = 1m\n\tsyncs = 2\n");
        Config::read(&path).expect_err("unknown key");
        Config::unset(&path, "FreshFor").expect("it stands there");
        assert_eq!(Config::read(&path).expect("readable").syncs, 2);
    }

    #[test]
    fn a_file_that_is_kept_elsewhere_stays_there() {
        let (dir, path) = place();
        let kept = dir.path().join("dotfiles");
        fs::write(&kept, "").expect("written");
        std::os::unix::fs::symlink(&kept, &path).expect("linked");
        Config::set(&path, "syncs", "3").expect("a setting");
        assert!(path.is_symlink());
        assert!(
            fs::read_to_string(&kept)
                .expect("readable")
                .contains("syncs = 3")
        );
    }

    proptest! {
        // Each of them writes many files to disk.
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn whatever_is_shown_can_be_set_and_is_shown_again(
            seconds in 0..9_000_000_u64, syncs in 1..=1000_usize, yes in any::<bool>()
        ) {
            let (_dir, path) = place();
            let mut config = Config { syncs, remind_after: Duration::from_secs(seconds), ..Config::default() };
            config.defaults.fsck = yes;
            config.defaults.keep_history = Duration::from_secs(seconds * 60);
            for (key, value) in config.clone().values().shown() {
                Config::set(&path, key, &value).expect("a setting");
                prop_assert_eq!(Config::get(&path, key).expect("readable"), value);
            }
            prop_assert_eq!(Config::read(&path).expect("readable"), config);
        }
    }
}
