//! Tests the commands that messages about owners and modes of files suggest.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::place::{Place, SERVICE, said, suggested};
use crate::support::tls::certificate;

#[test]
fn the_command_suggested_for_an_open_file_mode_closes_it() {
    for (name, mode) in [("keys", 0o777), ("keys/ring.json", 0o644)] {
        let place = Place::new();
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
        place.mends_all("bulla keys list", "chmod ");
    }
    let place = Place::new();
    fs::set_permissions(place.key("active"), fs::Permissions::from_mode(0o640)).unwrap();
    place.mends_all("bulla keys list", "chmod 600 ");
    fs::set_permissions(place.key("active"), fs::Permissions::from_mode(0o644)).unwrap();
    place.mends("bulla --allow-group-read keys list", "chmod 640 ");
    assert!(place.shell("bulla --allow-group-read keys list").status.success());
}

#[test]
fn commands_run_by_root_do_not_change_the_owner_of_a_services_files() {
    let Some(place) = Place::new().of_the_service() else { return };
    for failing in ["bulla keys list", "bulla keys rotate --now"] {
        let command = place.mends(failing, "setpriv ");
        assert!(command.ends_with(failing), "{command}");
    }
    let doctor = place.shell("bulla doctor");
    assert!(said(&doctor).contains("setpriv --reuid=4242"), "{}", said(&doctor));
    for entry in fs::read_dir(place.path("keys")).unwrap() {
        use std::os::unix::fs::MetadataExt as _;
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), SERVICE, "{entry:?}");
    }
}

/// The database, its folder and the keys belong to a service. The error tells any other user how to run the command as that
/// service.
#[test]
fn a_user_without_access_is_told_how_to_run_the_command_as_the_owner() {
    let Some(mut place) = Place::new().of_the_service() else { return };
    for failing in
        ["bulla user list", "bulla keys list", "bulla keys rotate --now", "bulla init", "bulla doctor"]
    {
        place.user = Some(65_534);
        let failed = place.shell(failing);
        assert!(!failed.status.success(), "{failing}");
        let command = suggested(&said(&failed), "sudo -u '#4242' bulla ");
        assert!(command.ends_with(failing.strip_prefix("bulla").unwrap()), "{command}");
        // A user who may use sudo.
        place.user = None;
        let mended = place.shell(&command);
        assert!(mended.status.success(), "{command}: {}", said(&mended));
    }
}

#[test]
fn the_command_suggested_for_a_read_only_database_makes_it_writable() {
    let Some(mut place) = Place::new().of_the_service() else { return };
    place.user = Some(SERVICE);
    for (name, mode) in
        [("bulla.db", 0o400), ("bulla.db", 0), ("", 0o500), ("", 0o600), ("keys", 0o500), ("keys", 0)]
    {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
        let failing = if name == "keys" { "bulla keys rotate --now" } else { "bulla user list" };
        println!("{name} {mode:o}");
        place.mends_all(failing, "chmod u+");
    }
}

#[test]
fn the_message_about_a_read_only_folder_names_the_folder_and_its_owner() {
    let Some(mut place) = Place::new().of_the_service() else { return };
    fs::create_dir(place.path("closed")).unwrap();
    place.user = Some(SERVICE);
    let failed = place.shell("cd closed && bulla init");
    assert!(
        said(&failed).contains("closed: belongs to user 0, but this command runs as user 4242"),
        "{}",
        said(&failed)
    );
    assert_eq!(suggested(&said(&failed), "sudo -u '#0'"), "sudo -u '#0' bulla init");
}

#[test]
fn the_command_that_doctor_suggests_mends_a_readable_or_encrypted_tls_key() {
    let mut place = Place::new();
    place.server.set("BULLA_TLS_CERT", "cert.pem");
    place.server.set("BULLA_TLS_KEY", "key.pem");
    certificate(place.server.dir.path(), "90", true);
    let doctor = place.shell("bulla doctor");
    assert_eq!(doctor.status.code(), Some(6));
    // The command prompts for the passphrase; the test passes it as an argument.
    let command = suggested(&said(&doctor), "openssl pkey ");
    let mended = place.shell(&format!("{command} -passin pass:secret"));
    assert!(mended.status.success(), "{}", said(&mended));
    place.server.set("BULLA_TLS_KEY", "key.plain.pem");
    place.is_sound();
    fs::set_permissions(place.path("key.plain.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    place.mends_all("bulla doctor", "chmod o=");
}

#[test]
fn the_command_that_doctor_suggests_protects_a_secret_file() {
    let mut place = Place::new();
    let folder = place.server.dir.path().to_owned();
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let settings = place.path("bulla.toml");
    assert_eq!(fs::metadata(&settings).unwrap().permissions().mode() & 0o777, 0o600, "as init makes it");
    // The file has no secret, so it may be readable for all, as in a volume that Kubernetes mounts from a ConfigMap.
    mode("bulla.toml", 0o644);
    place.is_sound();
    for writable in [0o646, 0o664] {
        mode("bulla.toml", writable);
        place.mends_all("bulla doctor", "chmod go-w ");
    }
    let secret = "our secret.txt";
    fs::write(place.path(secret), "hunter2").unwrap();
    let provider = "[provider.facebook]\nclient_id = '1'\nclient_secret_file = 'our secret.txt'\n";
    fs::write(&settings, provider).unwrap();
    for (open, allowed, begins) in
        [(0o644, false, "chmod go= "), (0o640, false, "chmod go= "), (0o644, true, "chmod g-wx,o= ")]
    {
        mode(secret, open);
        place.server.set("BULLA_ALLOW_GROUP_READ", if allowed { "true" } else { "false" });
        let command = place.mends("bulla doctor", begins);
        assert!(command.contains("our secret.txt'"), "{command}");
        let found = said(&place.shell("bulla doctor"));
        assert!(!found.contains("other users may"), "{found}");
    }
    // A password in the file makes the file secret.
    let url = "database = 'postgres://ada:hunter2@127.0.0.1:1/d?connect_timeout=1'\n";
    fs::write(&settings, url).unwrap();
    mode("bulla.toml", 0o640);
    place.server.set("BULLA_ALLOW_GROUP_READ", "false");
    let lost = place.server.environment.iter().position(|(name, _)| name == "BULLA_DATABASE");
    lost.map(|at| place.server.environment.remove(at));
    place.mends("bulla doctor", "chmod go= ");
    let found = said(&place.shell("bulla doctor"));
    assert!(!found.contains("other users may") && !found.contains("hunter2"), "{found}");
    // libpq ignores a password file that its group may read, and Bulla does the same.
    fs::write(place.path("pgpass"), "*:*:*:*:hunter2").unwrap();
    place.server.set("PGPASSFILE", place.path("pgpass"));
    fs::set_permissions(place.path("pgpass"), fs::Permissions::from_mode(0o640)).unwrap();
    let command = place.mends("bulla doctor", "chmod go= ");
    assert!(command.ends_with("/pgpass"), "{command}");
}
