//! Every setting: its key, what it means, its values, its default. They live in git-config files, in section `mirror`,
//! and are called there as the options of the commands are.
//!
//! A mirror's settings are in its own repository's configuration, all of them written out, so that `git -C MIRROR config
//! -l` shows them and removing the directory removes them:
//!
//! | key | meaning | values | default |
//! |---|---|---|---|
//! | `mirror.name` | what the mirror is called | a name | made from the URL |
//! | `mirror.url` | the upstream's canonical URL, never with credentials | a URL | none |
//! | `mirror.description` | what people say about it | text | blank |
//! | `mirror.track` | the tracked refs: a refspec, one line each | refspecs | all branches and tags |
//! | `mirror.every` | how often it is brought in step without anybody asking | a time span from `1s`, `never` | `1h` |
//! | `mirror.sync-on-fetch` | whether a fetch asks upstream first | `yes`, `no` | `yes` |
//! | `mirror.fresh-for` | how old an answer may be without asking again | a time span | `0s` |
//! | `mirror.stale` | what a fetch gets when upstream cannot be asked: the copy, or an error | `serve`, `fail` | `serve` |
//! | `mirror.stale-after` | how long a fetch waits for an upstream that says nothing of use before it gets the copy; the sync goes on | a time span | `10s` |
//! | `mirror.atomic` | whether the tracked refs of a push stand or fall together; `auto`: when the client says so | `yes`, `no`, `auto` | `auto` |
//! | `mirror.push` | whether it can be pushed to | `yes`, `no` | `yes` |
//! | `mirror.keep-history` | for how long what upstream rewrote or deleted can be brought back | a time span | `30d` |
//! | `mirror.fsck` | whether what upstream sends is checked as `git fsck` does | `yes`, `no` | `no` |
//! | `mirror.link` | how clones get its packs: by what works, by reflinks, hard links, copies, or sent by git itself | `auto`, `reflink`, `hardlink`, `copy`, `off` | `auto` |
//! | `mirror.auth` | what it signs in with at upstream: whatever the user's git would, nothing, a password or token, an ssh key | `git`, `anonymous`, `password`, `ssh-key` | `git` |
//! | `mirror.username` | who signs in with a password | text | absent |
//! | `mirror.ssh-key` | the private key, used where it lies | a path | absent |
//! | `mirror.secret` | which store has the password, or the key's passphrase, under which id | `keyring:ID`, `file:ID` | absent |
//! | `mirror.automatic` | not for people: whether a clone of the URL has made it and nobody has changed anything since, so that it may go by itself | `yes`, `no` | `no` |
//! | `mirror.serves-url` | not for people: whether the URL of its upstream means this mirror: only one that a clone of the URL has made; `formerly`: until it got another name | `yes`, `no`, `formerly` | none |
//! | `mirror.track-before` | not for people: what was tracked before a change that is under way | refspecs | absent |
//! | `mirror.keep-untracked` | not for people: whether that change makes local what it no longer tracks | `yes`, `no` | absent |
//!
//! The daemon's own settings are in one file for all (`Paths::config`). It may hold, for the mirrors that will be made,
//! other defaults for any of the keys above from `track` to `link`, and these:
//!
//! | key | meaning | values | default |
//! |---|---|---|---|
//! | `mirror.syncs` | how many syncs run at once | 1 to 1000 | `16` |
//! | `mirror.syncs-per-host` | how many of them at one host | 1 to 1000 | `8` |
//! | `mirror.remind-after` | how old an answer that was not checked may be before a fetch says its age | a time span | `1d` |
//! | `mirror.keep-unused` | for how long a mirror that a clone has made stays without anybody using it; with `never` it does not go | a time span from `1s`, `never` | `30d` |
//! | `mirror.disk-budget` | how much room all mirrors may take on disk before such mirrors go, those first that were used longest ago | a size, `no` | `50G` |
//! | `mirror.pass-through` | whether a part of a project that has no mirror yet comes straight from upstream, and the mirror is made after it; what both need is downloaded twice then | `yes`, `no` | `yes` |
//! | `mirror.webhook` | whether the webhook is on | `yes`, `no` | `no` |
//! | `mirror.webhook-listen` | where it listens; port 0 becomes the one that it gets | address and port | `127.0.0.1:0` |
//! | `mirror.webhook-public-url` | under which URL others reach it, when that is another one | a URL | blank |
//! | `mirror.webhook-tls-cert` | the file of its own certificate, and those that it was signed with | a path | blank |
//! | `mirror.webhook-tls-key` | the file of that certificate's key | a path | blank |
//!
//! The first two hold from the daemon's next start, and so do those of the webhook; `mirrord webhook on` and `off`
//! change them and take effect at once.
//!
//! A time span is a number and a unit, `s`, `m`, `h` or `d`; a size likewise with `K`, `M`, `G` or `T`. For `yes` and `no` whatever git takes for them will do.

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
use entries::{BadSetting, Entries, full};
use file::ConfigFile;
pub(crate) use secret_id::{SecretId, Store, is_secret_id};
pub(crate) use serves_url::ServesUrl;
use value::Value;

/// What a mirror is told to do. The table above says what each means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `mirror.name`
    pub name: Name,
    /// `mirror.url`
    pub url: UpstreamUrl,
    /// `mirror.description`
    pub description: String,
    /// `mirror.auth` and what goes with it. Not for `set`: a secret is stored before it is named here.
    pub auth: Auth,
    /// What it goes by, and new mirrors unless somebody says otherwise.
    pub rules: Rules,
    /// `mirror.automatic`. A mirror of a daemon that did not know of it is somebody's.
    pub automatic: bool,
    /// `mirror.serves-url`
    pub serves_url: ServesUrl,
    /// Set while a change of `track` is under way.
    pub leaving: Option<Leaving>,
}

/// What a change of the tracked refs leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaving {
    /// `mirror.track-before`
    pub track: Refspecs,
    /// `mirror.keep-untracked`
    pub keep: bool,
}

/// What a mirror goes by. Of the daemon's own settings: what a new one does unless somebody says otherwise.
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
    /// `mirror.link`
    pub link: Link,
}

/// Whether the tracked refs of one push stand or fall together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Atomic {
    /// Always.
    Yes,
    /// Never.
    No,
    /// When the client says so.
    Auto,
}

const NAME: &str = "name";
const URL: &str = "url";
const AUTOMATIC: &str = "automatic";
const SERVES_URL: &str = "serves-url";
const TRACK_BEFORE: &str = "track-before";
const KEEP_UNTRACKED: &str = "keep-untracked";

/// What makes git leave a mirror alone, and what it may serve. None of it is the user's to set.
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
            link: Link::Auto,
        }
    }
}

impl Rules {
    /// All of them by their keys.
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
            ("link", &mut self.link),
        ])
    }
}

impl Settings {
    /// The settings of a new mirror that a person names.
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
            leaving: None,
        }
    }

    /// The settings of a mirror that is made because somebody asked for this URL: all of upstream, whatever the refspecs
    /// of new mirrors are.
    #[must_use]
    pub(crate) fn of_url(url: &UpstreamUrl, rules: Rules) -> Self {
        let track = Refspecs::everything();
        let rules = Rules { track, ..rules };
        Self {
            serves_url: ServesUrl::Yes,
            ..Self::new(url.mirror_name(), url.clone(), rules)
        }
    }

    /// Gives a new, empty repository the other object format: nobody knew upstream's when it was made.
    pub(crate) fn use_sha256(git_dir: &Path) -> io::Result<()> {
        let mut file = ConfigFile::read(&git_dir.join("config"))?;
        file.put("core.repositoryformatversion", &["1".to_owned()])?;
        file.put("extensions.objectformat", &["sha256".to_owned()])?;
        write_twice(git_dir, &file)
    }

    /// Reads a mirror's settings; `None` when the repository is not a mirror. What is not set has its default, and keys
    /// that are none of ours are nobody's business here.
    ///
    /// # Errors
    /// Fails with the reason when the file cannot be read or a setting makes no sense.
    pub(crate) fn read(git_dir: &Path) -> io::Result<Option<Self>> {
        let file = ConfigFile::read(&git_dir.join("config"))?;
        let last = |key| file.values(&full(key)).pop();
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
        let mut settings = Self::of_url(&url, Rules::default());
        // A name that is none today was made from the URL by other rules than today's.
        if let Some(Ok(name)) = last(NAME).map(|name| Name::parse(&name)) {
            settings.name = name;
        }
        let in_file = |err: BadSetting| io::Error::other(err.within(&file));
        settings.values().read(&file).map_err(in_file)?;
        let mut unseen = Entries(vec![
            (AUTOMATIC, &mut settings.automatic),
            (SERVES_URL, &mut settings.serves_url),
        ]);
        unseen.read(&file).map_err(in_file)?;
        if last(SERVES_URL).is_none() {
            let Self {
                name,
                rules,
                automatic,
                ..
            } = &settings;
            settings.serves_url = ServesUrl::of_older(name, &url, &rules.track, *automatic);
        }
        if last(KEEP_UNTRACKED).is_some() {
            let mut leaving = Leaving {
                track: Refspecs::everything(),
                keep: false,
            };
            leaving.values().read(&file).map_err(in_file)?;
            settings.leaving = Some(leaving);
        }
        let of_auth = Auth::read(&file);
        settings.auth = of_auth.map_err(|why| {
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

    /// Writes these settings over those of a mirror, all at once and to last. Whatever else stands in its configuration
    /// stays there.
    pub(crate) fn write(&self, git_dir: &Path) -> io::Result<()> {
        let mut file = ConfigFile::read(&git_dir.join("config"))?;
        self.put(&mut file)?;
        write_twice(git_dir, &file)
    }

    /// Changes one of the settings that people may change: all but the name and the URL.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), BadSetting> {
        self.values().set(key, value)
    }

    /// What people may know, in the order of the table above, as they would type it.
    #[must_use]
    pub(crate) fn entries(&self) -> Vec<(&'static str, String)> {
        let own = [(NAME, self.name.to_string()), (URL, self.url.to_string())];
        own.into_iter()
            .chain(self.clone().values().shown())
            .collect()
    }

    /// What people may know of how it signs in, by the keys of the table above.
    pub(crate) fn signing_in(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.auth.shown()
    }

    fn put(&self, file: &mut ConfigFile) -> io::Result<()> {
        file.put(&full(NAME), &[self.name.to_string()])?;
        file.put(&full(URL), &[self.url.to_string()])?;
        for (key, lines) in self.clone().values().lines() {
            file.put(&full(key), &lines)?;
        }
        for (key, value) in self.auth.lines() {
            file.put(&full(key), &value.into_iter().collect::<Vec<_>>())?;
        }
        let automatic = self.automatic.then(|| self.automatic.lines());
        file.put(&full(AUTOMATIC), &automatic.unwrap_or_default())?;
        file.put(&full(SERVES_URL), &self.serves_url.lines())?;
        let leaving = self.leaving.as_ref();
        let track = leaving.map(|leaving| leaving.track.lines().collect::<Vec<_>>());
        let keep = leaving.map(|leaving| leaving.keep.lines());
        file.put(&full(TRACK_BEFORE), &track.unwrap_or_default())?;
        file.put(&full(KEEP_UNTRACKED), &keep.unwrap_or_default())
    }

    /// What people may change, by its keys.
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

impl Leaving {
    fn values(&mut self) -> Entries<'_> {
        Entries(vec![
            (TRACK_BEFORE, &mut self.track),
            (KEEP_UNTRACKED, &mut self.keep),
        ])
    }
}
