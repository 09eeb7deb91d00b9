//! Tests of secrets in files. No test may use a keyring: it would be that of the person who runs the tests.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::Command,
};

use tempfile::TempDir;

use super::*;

/// Secrets in a directory that does not exist yet.
fn secrets() -> (TempDir, Secrets) {
    let home = tempfile::tempdir().expect("temp dir");
    let secrets = Secrets::new(home.path().join("data/secrets"));
    (home, secrets)
}

/// Stores in a file, as is done where there is no keyring.
async fn stored(secrets: &Secrets, secret: &str) -> SecretId {
    let id = new_id().expect("random");
    secrets.put_file(id, secret).await.expect("stored")
}

fn file_of(secrets: &Secrets, id: &SecretId) -> PathBuf {
    secrets.dir.join(&id.id)
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o7777
}

fn set_mode(path: PathBuf, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

fn names(secrets: &Secrets) -> Vec<String> {
    let entries = fs::read_dir(&secrets.dir).expect("it is there");
    let names = entries.map(|entry| entry.expect("readable").file_name());
    let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    names
}

#[test]
fn a_name_is_written_and_read_again() {
    for text in
        ["keyring:", "file:"].map(|store| format!("{store}{}", "0123456789abcdef".repeat(2)))
    {
        let id = SecretId::parse(&text).expect("a name");
        assert_eq!(id.to_string(), text);
        let is_file = text.starts_with("file");
        assert_eq!(id.store() == Store::File, is_file);
    }
}

#[test]
fn what_could_lead_elsewhere_is_no_name() {
    let digits = "0".repeat(32);
    let wrong = [
        digits.clone(),
        format!("File:{digits}"),
        format!("file:{digits}0"),
        format!("file:{}", &digits[1..]),
        format!("file:../{}", &digits[3..]),
        format!("file:{}", "A".repeat(32)),
        format!("file: {}", &digits[1..]),
        format!("file:{}\n", &digits[1..]),
        "file:".to_owned(),
        String::new(),
    ];
    for text in wrong {
        assert_eq!(SecretId::parse(&text), None, "'{text}'");
    }
}

#[test]
fn every_use_can_be_part_of_a_task() {
    fn is_task(_: impl Future<Output: Send> + Send + 'static) {}
    is_task(async {
        let secrets = Secrets::new(PathBuf::new());
        if let Ok(id) = secrets.put("label", "secret").await {
            let _ = secrets.get(&id).await;
            let _ = secrets.remove(&id).await;
        }
    });
}

#[tokio::test]
async fn a_secret_comes_back_as_it_was_and_is_for_nobody_else() {
    let (_home, secrets) = secrets();
    for secret in ["token", "", "two\nlines\n", "  spaces\t", "pässwörd"] {
        let id = stored(&secrets, secret).await;
        assert_eq!(id.store(), Store::File);
        assert_eq!(secrets.get(&id).await.as_deref(), Ok(secret));
        assert_eq!(mode(file_of(&secrets, &id)), 0o600);
        assert!(!id.to_string().contains("token"));
    }
    assert_eq!(mode(secrets.dir.clone()), 0o700);
    assert_eq!(names(&secrets).len(), 5, "nothing else is left there");
}

#[tokio::test]
async fn what_others_may_read_or_change_is_refused_and_the_hint_can_be_typed() {
    let (_home, secrets) = secrets();
    let id = stored(&secrets, "token").await;
    for wrong in [0o640, 0o620, 0o604, 0o602, 0o610, 0o601, 0o777] {
        set_mode(file_of(&secrets, &id), wrong);
        let failure = secrets.get(&id).await.expect_err("refused");
        let path = file_of(&secrets, &id).display().to_string();
        assert_eq!(
            failure.message,
            format!("cannot read the secret in '{path}': others may read or change it")
        );
        assert_eq!(failure.hint, Some(format!("chmod 600 '{path}'")));
    }
    set_mode(file_of(&secrets, &id), 0o600);
    assert_eq!(secrets.get(&id).await.as_deref(), Ok("token"));
}

#[tokio::test]
async fn a_directory_that_others_may_look_into_is_refused() {
    let (_home, secrets) = secrets();
    let id = stored(&secrets, "token").await;
    set_mode(secrets.dir.clone(), 0o750);
    let failures = [
        secrets.get(&id).await.map(drop),
        secrets
            .put_file(new_id().expect("random"), "more")
            .await
            .map(drop),
    ];
    for failure in failures {
        let failure = failure.expect_err("refused");
        assert!(
            failure.message.ends_with("others may look into it"),
            "{failure}"
        );
        let hint = failure.hint.unwrap_or_default();
        assert!(hint.starts_with("chmod 700 '"), "{hint}");
    }
    assert_eq!(names(&secrets).len(), 1, "nothing more was written there");
}

#[tokio::test]
async fn what_is_no_file_of_ours_is_refused() {
    let (home, secrets) = secrets();
    let id = stored(&secrets, "token").await;
    let (path, elsewhere) = (file_of(&secrets, &id), home.path().join("elsewhere"));
    fs::rename(&path, &elsewhere).expect("moved");
    let refusal = async || secrets.get(&id).await.expect_err("refused").message;

    symlink(&elsewhere, &path).expect("linked");
    assert!(refusal().await.ends_with("it is a symbolic link"));
    fs::remove_file(&path).expect("removed");

    fs::create_dir(&path).expect("made");
    set_mode(path.clone(), 0o700);
    assert!(refusal().await.ends_with("it is not a regular file"));
    fs::remove_dir(&path).expect("removed");

    // Without anybody at its other end; opening it must not wait for one.
    let made = Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(&path)
        .status();
    assert!(made.expect("mkfifo runs").success());
    assert!(refusal().await.ends_with("it is not a regular file"));
}

#[tokio::test]
async fn part_of_a_secret_is_never_taken_for_the_whole() {
    let (_home, secrets) = secrets();
    let id = stored(&secrets, "a token").await;
    let whole = fs::read(file_of(&secrets, &id)).expect("readable");
    for length in 0..whole.len() {
        fs::write(file_of(&secrets, &id), &whole[..length]).expect("written");
        let failure = secrets.get(&id).await.expect_err("refused");
        assert!(failure.message.ends_with("it is not whole"), "{failure}");
        assert!(!format!("{failure:?}").contains("a tok"), "{failure:?}");
    }
    fs::write(file_of(&secrets, &id), b"\xfftoken\n").expect("written");
    let failure = secrets.get(&id).await.expect_err("refused");
    assert!(failure.message.ends_with("it is not text"), "{failure}");
    assert!(!format!("{failure:?}").contains("token"), "{failure:?}");
}

#[tokio::test]
async fn what_is_too_long_is_not_stored() {
    let (_home, secrets) = secrets();
    let longest = "x".repeat(64 * 1024 - 1);
    let id = stored(&secrets, &longest).await;
    assert_eq!(secrets.get(&id).await, Ok(longest.clone()));
    let id = new_id().expect("random");
    let failure = secrets.put_file(id, &format!("{longest}x")).await;
    let failure = failure.expect_err("refused");
    assert_eq!(failure.kind, FailureKind::Usage, "{failure}");
    assert_eq!(names(&secrets).len(), 1);
}

#[tokio::test]
async fn a_removed_secret_is_gone_and_can_be_removed_again() {
    let (home, secrets) = secrets();
    let id = stored(&secrets, "token").await;
    // A second name for the same bytes shows what has become of them.
    let seen = home.path().join("seen");
    fs::hard_link(file_of(&secrets, &id), &seen).expect("linked");
    assert_eq!(secrets.remove(&id).await, Ok(()));
    assert_eq!(fs::read(&seen).expect("readable"), vec![0; 6]);
    let failure = secrets.get(&id).await.expect_err("gone");
    assert_eq!(
        failure.message,
        "the file no longer has this mirror's secret"
    );
    assert_eq!(failure.kind, FailureKind::LoginNeeded);
    assert_eq!(secrets.remove(&id).await, Ok(()));
    fs::remove_dir(&secrets.dir).expect("it is empty");
    assert_eq!(secrets.remove(&id).await, Ok(()), "no directory, no secret");
}

#[tokio::test]
async fn removing_a_link_leaves_what_it_leads_to() {
    let (home, secrets) = secrets();
    let id = stored(&secrets, "token").await;
    let elsewhere = home.path().join("elsewhere");
    fs::write(&elsewhere, "precious").expect("written");
    fs::remove_file(file_of(&secrets, &id)).expect("removed");
    symlink(&elsewhere, file_of(&secrets, &id)).expect("linked");
    assert_eq!(secrets.remove(&id).await, Ok(()));
    assert!(names(&secrets).is_empty());
    assert_eq!(fs::read_to_string(elsewhere).expect("readable"), "precious");
}

#[tokio::test]
async fn a_sweep_keeps_what_is_named_and_what_is_not_ours() {
    let (_home, secrets) = secrets();
    assert!(secrets.sweep(&[]).is_ok(), "no directory, nothing to sweep");
    let (kept, lost) = (
        stored(&secrets, "kept").await,
        stored(&secrets, "lost").await,
    );
    fs::write(secrets.dir.join(".new-abc"), "never fini").expect("written");
    fs::write(secrets.dir.join("README"), "somebody's").expect("written");
    // The same id in the other store is another secret.
    let other = SecretId::parse(&format!("keyring:{}", lost.id)).expect("a name");
    secrets.sweep(&[kept.clone(), other]).expect("swept");
    let mut left = vec!["README".to_owned(), kept.id.clone()];
    left.sort();
    assert_eq!(names(&secrets), left);
    assert_eq!(secrets.get(&kept).await.as_deref(), Ok("kept"));
}
