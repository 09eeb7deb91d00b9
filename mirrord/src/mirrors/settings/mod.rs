//! Every setting: its key, its meaning, its values, its default. Settings are in git-config files, in section `mirror`,
//! with the names that the options of the commands have. `docs/configuration.md` has the two tables too, by a test.
//!
//! A mirror's settings are in the configuration of its own repository, also those that have their default: `git -C MIRROR
//! config -l` shows them, and whoever removes the directory removes them.
//!
//! | key | meaning | values | default |
//! |---|---|---|---|
//! | `mirror.name` | the name of the mirror | a name | made from the URL |
//! | `mirror.url` | the upstream's canonical URL, never with credentials | a URL | none |
//! | `mirror.description` | a text for people | text | blank |
//! | `mirror.track` | the tracked refs: a refspec, one line each | refspecs | all branches and tags |
//! | `mirror.every` | the interval of its scheduled syncs | a time span from `1s`, `never` | `1h` |
//! | `mirror.sync-on-fetch` | whether a fetch asks upstream first | `yes`, `no` | `yes` |
//! | `mirror.fresh-for` | how old an answer of upstream may be before a fetch asks upstream again | a time span | `0s` |
//! | `mirror.stale` | what a fetch gets when upstream cannot be asked: the copy, or an error | `serve`, `fail` | `serve` |
//! | `mirror.stale-after` | after how long without an answer of upstream a fetch gets the copy; the sync goes on | a time span | `10s` |
//! | `mirror.atomic` | whether upstream accepts all tracked refs of a push or none; `auto`: if the client asks for that | `yes`, `no`, `auto` | `auto` |
//! | `mirror.push` | whether it can be pushed to | `yes`, `no` | `yes` |
//! | `mirror.keep-history` | how long refs that upstream rewrote or deleted can be restored | a time span | `30d` |
//! | `mirror.fsck` | whether what upstream sends is checked as `git fsck` does | `yes`, `no` | `no` |
//! | `mirror.wipe-guard` | whether the mirror keeps what it has when upstream looks wiped, until somebody accepts upstream | `yes`, `no` | `yes` |
//! | `mirror.link` | how clones get its packs: as reflinks, hard links or copies, or sent by git itself (`off`); `auto`: as the first of reflink, hard link and copy that works | `auto`, `reflink`, `hardlink`, `copy`, `off` | `auto` |
//! | `mirror.auth` | the credential for upstream: the one of the user's git, none, a password or token, an ssh key | `git`, `anonymous`, `password`, `ssh-key` | `git` |
//! | `mirror.username` | the user name that goes with a password | text | absent |
//! | `mirror.ssh-key` | the file of the private key | a path | absent |
//! | `mirror.secret` | the store of the password, or of the key's passphrase, and its id there | `keyring:ID`, `file:ID` | absent |
//! | `mirror.automatic` | internal: whether a clone of the URL made the mirror and nobody has changed a setting since, so that it may be removed automatically | `yes`, `no` | `no` |
//! | `mirror.serves-url` | internal: whether the URL of its upstream means this mirror, which a clone of the URL made; `formerly`: until the mirror got another name | `yes`, `no`, `formerly` | none |
//! | `mirror.track-before` | internal: the tracked refs before a change of them that is not finished | refspecs | absent |
//! | `mirror.keep-untracked` | internal: whether that change keeps refs that are no longer tracked, as local ones | `yes`, `no` | absent |
//!
//! The daemon's own settings are in one file (`Paths::config`). The keys above from `track` to `link` may be in it, too, as
//! the defaults of new mirrors:
//!
//! | key | meaning | values | default |
//! |---|---|---|---|
//! | `mirror.syncs` | how many syncs run at once | 1 to 1000 | `16` |
//! | `mirror.syncs-per-host` | how many of them at one host | 1 to 1000 | `8` |
//! | `mirror.remind-after` | from which age on a fetch prints the age of a copy that was not checked with upstream | a time span | `1d` |
//! | `mirror.keep-unused` | after how long without use a mirror that a clone made is removed | a time span from `1s`, `never` | `30d` |
//! | `mirror.disk-budget` | the size of all mirrors on disk above which such mirrors are removed, those first that were used longest ago | a size, `no` | `50G` |
//! | `mirror.pass-through` | whether a clone with `--depth` or `--single-branch` of a project without a mirror comes straight from upstream, and the mirror is made afterwards; what both need is then downloaded twice | `yes`, `no` | `yes` |
//! | `mirror.webhook` | whether the webhook is on | `yes`, `no` | `no` |
//! | `mirror.webhook-listen` | the address on which it listens; port 0 is a free port, which is then written here | address and port | `127.0.0.1:0` |
//! | `mirror.webhook-public-url` | the URL under which others reach it, if that is another one | a URL | blank |
//! | `mirror.webhook-tls-cert` | the file of its certificate and the certificates that signed it | a path | blank |
//! | `mirror.webhook-tls-key` | the file of that certificate's key | a path | blank |
//!
//! `syncs`, `syncs-per-host` and the keys of the webhook take effect when the daemon starts. `mirrord webhook on` and `off`
//! change the latter at once.
//!
//! A time span is a number and a unit, `s`, `m`, `h` or `d`; a size is a number and `K`, `M`, `G` or `T`. For `yes` and `no`
//! every word is accepted that git accepts.

mod auth;
pub(crate) mod copy;
pub(crate) mod entries;
pub(crate) mod file;
mod secret_id;
mod serves_url;
pub(crate) mod size;
#[cfg(test)]
mod tests;
pub(crate) mod value;

use std::{io, path::Path, time::Duration};

use common::{
    address::{
        name::Name,
        upstream_url::{Address, UpstreamUrl},
    },
    packs::link::Link,
    protocol::Stale,
    refspec::Refspecs,
};

pub(crate) use auth::Auth;
use entries::{BadSetting, Entries, full_key};
use file::ConfigFile;
pub(crate) use secret_id::{SecretId, Store, is_secret_id};
pub(crate) use serves_url::ServesUrl;
use value::Value;

/// The settings of a mirror. The table above says what each means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `mirror.name`
    pub name: Name,
    /// `mirror.url`
    pub url: UpstreamUrl,
    /// `mirror.description`
    pub description: String,
    /// `mirror.auth` and the keys that go with it. `set` does not change them, because a secret is stored first.
    pub auth: Auth,
    /// Those of which the daemon's settings have the defaults.
    pub rules: Rules,
    /// `mirror.automatic`. A mirror without the key, of an older daemon, is never removed automatically.
    pub automatic: bool,
    /// `mirror.serves-url`
    pub serves_url: ServesUrl,
    /// Set while a change of `track` is not finished.
    pub track_change: Option<TrackChange>,
}

/// A change of the tracked refs that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrackChange {
    /// `mirror.track-before`
    pub before: Refspecs,
    /// `mirror.keep-untracked`
    pub keep_untracked: bool,
}

/// The settings of a mirror of which the daemon's settings have the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// `mirror.track`
    pub track: Refspecs,
    /// `mirror.every`; `None` is never.
    pub every: Option<Duration>,
    /// `mirror.sync-on-fetch`
    pub sync_on_fetch: bool,
    /// `mirror.fresh-for`
    pub fresh_for: Duration,
    /// `mirror.stale`
    pub stale: Stale,
    /// `mirror.stale-after`
    pub stale_after: Duration,
    /// `mirror.atomic`
    pub atomic: Atomic,
    /// `mirror.push`
    pub push: bool,
    /// `mirror.keep-history`
    pub keep_history: Duration,
    /// `mirror.fsck`
    pub fsck: bool,
    /// `mirror.wipe-guard`
    pub wipe_guard: bool,
    /// `mirror.link`
    pub link: Link,
}

/// Whether upstream accepts all tracked refs of a push or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Atomic {
    /// Always.
    Yes,
    /// Never.
    No,
    /// If the client asks for it.
    Auto,
}

const NAME: &str = "name";
const URL: &str = "url";
const AUTOMATIC: &str = "automatic";
const SERVES_URL: &str = "serves-url";
const TRACK_BEFORE: &str = "track-before";
const KEEP_UNTRACKED: &str = "keep-untracked";

/// The configuration of every mirror's repository: git runs no hooks and no maintenance in it, and serves what helpers ask
/// for. Users do not change it.
const REPOSITORY: [(&str, &[&str]); 13] = [
    ("core.bare", &["true"]),
    ("core.logAllRefUpdates", &["false"]),
    ("core.hooksPath", &["/dev/null"]),
    ("core.fsync", &["all"]),
    ("core.fsmonitor", &["false"]),
    ("gc.auto", &["0"]),
    ("maintenance.auto", &["false"]),
    ("receive.unpackLimit", &["1"]),
    ("receive.autogc", &["false"]),
    // The last one hides nothing: without it git 2.47 leaves out `refs/upstreams` as well.
    (
        "transfer.hideRefs",
        &["refs/upstream", "refs/mirror", "!refs/heads"],
    ),
    ("transfer.bundleURI", &["false"]),
    ("uploadpack.allowFilter", &["true"]),
    ("uploadpack.allowAnySHA1InWant", &["true"]),
];

impl Default for Rules {
    fn default() -> Self {
        Self {
            track: Refspecs::everything(),
            every: Some(Duration::from_secs(60 * 60)),
            sync_on_fetch: true,
            fresh_for: Duration::ZERO,
            stale: Stale::Serve,
            stale_after: Duration::from_secs(10),
            atomic: Atomic::Auto,
            push: true,
            keep_history: Duration::from_secs(30 * 24 * 60 * 60),
            fsck: false,
            wipe_guard: true,
            link: Link::Auto,
        }
    }
}

impl Rules {
    /// Returns all of them by their keys.
    pub(crate) fn values(&mut self) -> Entries<'_> {
        Entries(vec![
            ("track", &mut self.track),
            ("every", &mut self.every),
            ("sync-on-fetch", &mut self.sync_on_fetch),
            ("fresh-for", &mut self.fresh_for),
            ("stale", &mut self.stale),
            ("stale-after", &mut self.stale_after),
            ("atomic", &mut self.atomic),
            ("push", &mut self.push),
            ("keep-history", &mut self.keep_history),
            ("fsck", &mut self.fsck),
            ("wipe-guard", &mut self.wipe_guard),
            ("link", &mut self.link),
        ])
    }
}

impl Settings {
    /// Returns the settings of a new mirror to which a person gives the name.
    #[must_use]
    pub(crate) fn new(name: Name, url: UpstreamUrl, rules: Rules) -> Self {
        Self {
            name,
            url,
            description: String::new(),
            auth: Auth::AsGit,
            rules,
            automatic: false,
            serves_url: ServesUrl::No,
            track_change: None,
        }
    }

    /// Returns the settings of a mirror that is made because somebody asked for this URL. It tracks all of upstream, whatever
    /// the default of new mirrors is.
    #[must_use]
    pub(crate) fn for_url(url: &UpstreamUrl, rules: Rules) -> Self {
        let track = Refspecs::everything();
        let rules = Rules { track, ..rules };
        Self {
            serves_url: ServesUrl::Yes,
            ..Self::new(url.mirror_name(), url.clone(), rules)
        }
    }

    /// Changes a new, empty repository to SHA-256, when upstream turns out to have that object format.
    pub(crate) fn use_sha256(git_dir: &Path) -> io::Result<()> {
        let mut file = ConfigFile::read(&git_dir.join("config"))?;
        file.put("core.repositoryformatversion", &["1".to_owned()])?;
        file.put("extensions.objectformat", &["sha256".to_owned()])?;
        write_twice(git_dir, &file)
    }

    /// Reads a mirror's settings; None when the repository is not a mirror. A setting that is absent has its default. Keys of
    /// others are ignored.
    ///
    /// # Errors
    /// Fails when the file cannot be read, and when a setting has a bad value.
    pub(crate) fn read(git_dir: &Path) -> io::Result<Option<Self>> {
        let file = ConfigFile::read(&git_dir.join("config"))?;
        let last = |key| file.values(&full_key(key)).pop();
        let Some(url) = last(URL) else {
            return Ok(None);
        };
        let bad = |why: &dyn std::fmt::Display| {
            let path = file.path().display();
            io::Error::other(format!("'{path}' has a bad mirror.url: {why}"))
        };
        let url = match Address::parse(&url) {
            Ok(Address::Url(url, None)) => url,
            Ok(_) => return Err(bad(&"it is not a URL without credentials")),
            Err(err) => return Err(bad(&err)),
        };
        let mut settings = Self::for_url(&url, Rules::default());
        // A name that breaks today's rules was made from the URL by older ones.
        if let Some(Ok(name)) = last(NAME).map(|name| Name::parse(&name)) {
            settings.name = name;
        }
        let in_file = |err: BadSetting| io::Error::other(err.in_file(&file));
        settings.values().read(&file).map_err(in_file)?;
        let mut internal = Entries(vec![
            (AUTOMATIC, &mut settings.automatic),
            (SERVES_URL, &mut settings.serves_url),
        ]);
        internal.read(&file).map_err(in_file)?;
        if last(SERVES_URL).is_none() {
            let Self {
                name,
                rules,
                automatic,
                ..
            } = &settings;
            settings.serves_url = ServesUrl::from_older(name, &url, &rules.track, *automatic);
        }
        if last(KEEP_UNTRACKED).is_some() {
            let mut track_change = TrackChange {
                before: Refspecs::everything(),
                keep_untracked: false,
            };
            track_change.values().read(&file).map_err(in_file)?;
            settings.track_change = Some(track_change);
        }
        let auth = Auth::read(&file);
        settings.auth = auth.map_err(|why| {
            io::Error::other(format!("'{}' has a bad {why}", file.path().display()))
        })?;
        Ok(Some(settings))
    }

    /// Writes the configuration of a new repository, on top of what git's format requires there.
    pub(crate) fn write_new(&self, git_dir: &Path) -> io::Result<()> {
        let mut file = ConfigFile::read(&git_dir.join("config"))?;
        for (key, values) in REPOSITORY {
            let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
            file.put(key, &values)?;
        }
        self.put(&mut file)?;
        write_twice(git_dir, &file)
    }

    /// Writes these settings over those of a mirror, all at once and durably. Other keys stay in its configuration.
    pub(crate) fn write(&self, git_dir: &Path) -> io::Result<()> {
        let mut file = ConfigFile::read(&git_dir.join("config"))?;
        self.put(&mut file)?;
        write_twice(git_dir, &file)
    }

    /// Changes one of the settings that people may change: any but the name and the URL.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), BadSetting> {
        self.values().set(key, value)
    }

    /// Returns the settings that are shown to people, in the order of the table above, as they would type them.
    #[must_use]
    pub(crate) fn entries(&self) -> Vec<(&'static str, String)> {
        let own = [(NAME, self.name.to_string()), (URL, self.url.to_string())];
        own.into_iter()
            .chain(self.clone().values().shown())
            .collect()
    }

    /// Returns what is shown to people of its credential, by the keys of the table above.
    pub(crate) fn signing_in(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.auth.shown()
    }

    fn put(&self, file: &mut ConfigFile) -> io::Result<()> {
        file.put(&full_key(NAME), &[self.name.to_string()])?;
        file.put(&full_key(URL), &[self.url.to_string()])?;
        for (key, lines) in self.clone().values().lines() {
            file.put(&full_key(key), &lines)?;
        }
        for (key, value) in self.auth.lines() {
            file.put(&full_key(key), &value.into_iter().collect::<Vec<_>>())?;
        }
        let automatic = self.automatic.then(|| self.automatic.lines());
        file.put(&full_key(AUTOMATIC), &automatic.unwrap_or_default())?;
        file.put(&full_key(SERVES_URL), &self.serves_url.lines())?;
        let track_change = self.track_change.as_ref();
        let before = track_change.map(|change| change.before.lines().collect::<Vec<_>>());
        let keep = track_change.map(|change| change.keep_untracked.lines());
        file.put(&full_key(TRACK_BEFORE), &before.unwrap_or_default())?;
        file.put(&full_key(KEEP_UNTRACKED), &keep.unwrap_or_default())
    }

    /// Returns the settings that people may change, by their keys.
    fn values(&mut self) -> Entries<'_> {
        let Entries(mut values) = self.rules.values();
        values.insert(0, ("description", &mut self.description));
        Entries(values)
    }
}

/// Writes the configuration, and then its copy.
fn write_twice(git_dir: &Path, file: &ConfigFile) -> io::Result<()> {
    file.write()?;
    copy::write(git_dir, &file.content())
}

impl TrackChange {
    fn values(&mut self) -> Entries<'_> {
        Entries(vec![
            (TRACK_BEFORE, &mut self.before),
            (KEEP_UNTRACKED, &mut self.keep_untracked),
        ])
    }
}
