//! A mirror's own ssh key, with which ssh signs in, and with no other.
//!
//! Beside the key of `-i`, ssh tries those that the user's configuration names for the host. So ssh is given another
//! configuration (`-F`): what `ssh -G` prints for this host, without what signs in.

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

/// How often ssh asks for a passphrase: the default of `NumberOfPasswordPrompts`.
const DEFAULT_PROMPTS: u32 = 3;

/// Keywords of a configuration that say with what to sign in, and how.
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

/// Keywords whose value is one path: `ssh -G` prints it without the quotes that it needs where it has a space.
const PATHS: [&str; 4] = [
    "identityagent",
    "revokedhostkeys",
    "securitykeyprovider",
    "xauthlocation",
];

/// The directory of those configurations.
pub(super) struct Configurations(PathBuf);

impl Configurations {
    /// Takes the directory, and removes what an earlier daemon has left there.
    pub(super) fn new(dir: PathBuf) -> Self {
        // The directory is made again when it is needed.
        let _ = fs::remove_dir_all(&dir);
        Self(dir)
    }

    /// Writes the configuration for a connection, from what `ssh -G` printed for it.
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

/// Returns a configuration without what signs in. A host through which ssh jumps is reached as the user reaches it.
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

/// Returns the options that make ssh sign in with this key alone.
pub(super) fn options(key: &Path, configuration: &Path, strict: &str) -> Vec<String> {
    let mut options = vec![
        "-F".to_owned(),
        configuration.to_string_lossy().into_owned(),
    ];
    options.extend(["-i".to_owned(), key.to_string_lossy().into_owned()]);
    let settings = [
        "IdentitiesOnly=yes",
        "PreferredAuthentications=publickey",
        strict,
    ];
    options.extend(
        settings
            .into_iter()
            .flat_map(|setting| ["-o".to_owned(), setting.to_owned()]),
    );
    options
}

/// Returns how often ssh may ask for the passphrase: as often as it asks a person, and once more for the stored one.
pub(super) fn max_prompts(access: &Access) -> u32 {
    DEFAULT_PROMPTS + u32::from(access.passphrase.is_some())
}

/// Explains why no key was let in, and what to do about it. Where ssh could not read the key for want of its passphrase,
/// upstream has refused nothing.
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
            trouble.failure.hint = Some(refused_hint(url, file));
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

/// Returns the hint where upstream refuses the key.
fn refused_hint(url: &UpstreamUrl, key: &Path) -> String {
    let page = format!("https://{}/-/user_settings/ssh_keys", bare_host(url));
    match public_key(key) {
        Some(line) => format!("GitLab takes the public key at {page}: {line}"),
        None => format!(
            "GitLab takes the public key at {page}; this prints it: ssh-keygen -y -f {}",
            shell_quoted(&key.to_string_lossy())
        ),
    }
}

/// Returns the public key of a private one: from the file beside it, or from the private key where it has no passphrase.
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
    fn what_signs_in_is_left_out_and_a_jump_host_is_reached_as_ever() {
        let configuration = "host h\nuser git\nhostname real.example\nbatchmode no\nidentityfile /x/y\n\
             identityfile /x/z\ncertificatefile /x/cert\nidentityagent /a b/agent\nproxyjump jump\nuserknownhostsfile /a /b\n";
        assert_eq!(
            without_keys(configuration, "h"),
            "Match originalhost h\nuser git\nhostname real.example\nidentityagent \"/a b/agent\"\nproxyjump jump\n\
             userknownhostsfile /a /b\nMatch !originalhost h\nInclude ~/.ssh/config\nInclude /etc/ssh/ssh_config\n"
        );
    }
}
