//! A mirror's own ssh key: it signs in, and no other.
//!
//! ssh adds to a key that it is given those that the user's configuration names for the host. So it is given another
//! configuration: what the user's comes to for this host, without what signs in.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, FailureKind},
    text::{masked, shell_quoted},
};
use sha2::{Digest, Sha256};

use super::{ConnectionKey, stderr::bare_host};
use crate::{
    mirrors::settings::Auth,
    process::{
        durable,
        questions::{BadPassphrase, Open},
    },
    upstream::{Access, Trouble},
};

/// How often ssh asks for a passphrase, as by default.
const PROMPTS: u32 = 3;

/// What in a configuration signs in, or says how.
const SIGNS_IN: [&str; 10] = [
    "batchmode",
    "certificatefile",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "identitiesonly",
    "identityfile",
    "pkcs11provider",
    "preferredauthentications",
    "stricthostkeychecking",
];

/// What is one path, which `ssh -G` prints as it is, and ssh reads in quotes where it has a space.
const PATHS: [&str; 4] = [
    "identityagent",
    "revokedhostkeys",
    "securitykeyprovider",
    "xauthlocation",
];

/// Where those configurations lie.
pub(super) struct Configurations(PathBuf);

impl Configurations {
    /// In this folder. What a daemon before left there is removed.
    pub(super) fn new(folder: PathBuf) -> Self {
        // It is made again for whoever needs it.
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }

    /// Writes the configuration for one end of a connection and the other, of what ssh says (`ssh -G`) of the user's.
    pub(super) fn write(
        &self,
        connection: &ConnectionKey,
        configuration: &str,
    ) -> io::Result<PathBuf> {
        let host = connection
            .destination
            .rsplit('@')
            .next()
            .unwrap_or_default();
        let text = without_keys(configuration, host);
        let hash = Sha256::digest(text.as_bytes());
        let path = self.0.join(hex::encode(&hash[..8]));
        if !path.exists() {
            durable::make_dir(&self.0)?;
            durable::replace(&path, text.as_bytes())?;
        }
        Ok(path)
    }
}

/// The same without what signs in. A host on the way there, through which ssh goes, is reached as the user reaches it.
fn without_keys(configuration: &str, host: &str) -> String {
    let is_ours = |line: &&str| {
        let key = line.split(' ').next().unwrap_or_default();
        !SIGNS_IN.contains(&key) && key != "host"
    };
    let quoted = |line: &str| match line.split_once(' ') {
        Some((key, path)) if PATHS.contains(&key) && path.contains(' ') => {
            format!("{key} \"{path}\"")
        }
        _ => line.to_owned(),
    };
    let ours = configuration.lines().filter(is_ours).map(quoted);
    let ours: Vec<_> = ours.collect();
    format!(
        "Match originalhost {host}\n{}\nMatch !originalhost {host}\nInclude ~/.ssh/config\nInclude /etc/ssh/ssh_config\n",
        ours.join("\n")
    )
}

/// How ssh is told to sign in with this key alone.
pub(super) fn options(key: &Path, configuration: &Path, strict: &str) -> Vec<String> {
    let mut words = vec![
        "-F".to_owned(),
        configuration.to_string_lossy().into_owned(),
    ];
    words.extend(["-i".to_owned(), key.to_string_lossy().into_owned()]);
    let settings = [
        "IdentitiesOnly=yes",
        "PreferredAuthentications=publickey",
        strict,
    ];
    words.extend(
        settings
            .into_iter()
            .flat_map(|setting| ["-o".to_owned(), setting.to_owned()]),
    );
    words
}

/// How often ssh asks for the passphrase: as often as it asks a person, and once more for the one that is stored.
pub(super) fn max_prompts(access: &Access) -> u32 {
    PROMPTS + u32::from(access.passphrase.is_some())
}

/// What it means that upstream has not let in a key, and what to do about it. Where ssh could not read the key for want of
/// its passphrase, upstream has refused nothing.
pub(in crate::upstream) fn explain_refusal(
    url: &UpstreamUrl,
    access: &Access,
    asking: Option<&Open>,
    mut trouble: Trouble,
) -> Trouble {
    if !trouble.key_refused {
        return trouble;
    }
    let own = match &access.auth {
        Auth::SshKey { file, .. } => Some(file),
        _ => None,
    };
    let Some((file, bad)) = asking.and_then(|open| open.bad_passphrase(max_prompts(access))) else {
        if let Some(file) = own {
            trouble.failure.hint = Some(refused(url, file));
        }
        return trouble;
    };
    let why = match bad {
        BadPassphrase::Unknown => "is not known",
        BadPassphrase::Wrong => "is wrong",
    };
    let shown = masked(file.as_bytes());
    let message = format!("cannot sign in to '{url}': the passphrase of '{shown}' {why}");
    if own.is_some() {
        let hint =
            "--ssh-key asks for it at a terminal; with --passphrase-stdin it is read from stdin";
        let failure = Failure::new(FailureKind::LoginNeeded, message);
        return failure.hinted(hint).into();
    }
    trouble.failure.message = message;
    let hint = format!(
        "your agent can have the key: ssh-add {}",
        shell_quoted(&file)
    );
    trouble.failure.hint = Some(hint);
    trouble
}

/// What to do where upstream refuses the key.
fn refused(url: &UpstreamUrl, key: &Path) -> String {
    let page = format!("https://{}/-/user_settings/ssh_keys", bare_host(url));
    match public_key(key) {
        Some(line) => format!("GitLab takes the public key at {page}: {line}"),
        None => format!(
            "GitLab takes the public key at {page}; this prints it: ssh-keygen -y -f {}",
            shell_quoted(&key.to_string_lossy())
        ),
    }
}

/// The public key that belongs to a private one: from the file beside it, or from itself where it has no passphrase.
fn public_key(key: &Path) -> Option<String> {
    let mut beside = key.as_os_str().to_owned();
    beside.push(".pub");
    let text = fs::read_to_string(beside).ok().or_else(|| {
        let output = Command::new("ssh-keygen")
            .args(["-y", "-P", "", "-f"])
            .arg(key)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        String::from_utf8(output.stdout).ok()
    })?;
    let line = text.lines().next()?.trim();
    let is_key = ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|kind| line.starts_with(kind));
    is_key.then(|| masked(line.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_signs_in_is_left_out_and_a_host_on_the_way_is_reached_as_ever() {
        let configuration = "host h\nuser git\nhostname real.example\nbatchmode no\nidentityfile /x/y\n\
             identityfile /x/z\ncertificatefile /x/cert\nidentityagent /a b/agent\nproxyjump jump\nuserknownhostsfile /a /b\n";
        assert_eq!(
            without_keys(configuration, "h"),
            "Match originalhost h\nuser git\nhostname real.example\nidentityagent \"/a b/agent\"\nproxyjump jump\n\
             userknownhostsfile /a /b\nMatch !originalhost h\nInclude ~/.ssh/config\nInclude /etc/ssh/ssh_config\n"
        );
    }
}
