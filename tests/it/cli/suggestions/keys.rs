//! Tests the commands that messages about the keys directory suggest.

use std::{fs, path::Path};

use serde_json::json;

use super::place::{Place, said};

#[test]
fn every_message_about_a_lost_ring_suggests_the_command_that_creates_a_new_one() {
    for failing in [
        "bulla doctor",
        "bulla init",
        "bulla keys list",
        "bulla keys check",
        "bulla token seal '{\"id\":\"1\"}'",
        "bulla serve --listen 127.0.0.1:0",
        "bulla serve --init --listen 127.0.0.1:0",
    ] {
        for whole in [true, false] {
            let place = Place::new();
            match whole {
                true => fs::rename(place.path("keys"), place.path("lost")).unwrap(),
                false => fs::remove_file(place.path("keys/ring.json")).unwrap(),
            }
            place.mends(failing, "bulla keys revoke --all");
            place.is_sound();
        }
    }
}

#[test]
fn a_revocation_never_creates_a_ring_that_no_database_knows() {
    let place = Place::new();
    let output = place.shell("bulla --keys elsewhere --database nowhere.db keys revoke --all");
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(!place.path("elsewhere").exists());
}

/// A name, and a function that causes the damage.
type Damage = (&'static str, fn(&Place));

#[test]
fn the_command_suggested_for_a_damaged_ring_mends_it() {
    let damages: [Damage; 6] = [
        ("two active keys", |place| {
            place.edit_ring(|ring| {
                for key in ring["keys"].as_array_mut().unwrap() {
                    key["state"] = json!("active");
                }
            })
        }),
        ("no active key", |place| {
            place.edit_ring(|ring| ring["keys"][0]["state"] = json!("retired"));
        }),
        ("a key twice", |place| {
            place.edit_ring(|ring| {
                let key = ring["keys"][1].clone();
                ring["keys"].as_array_mut().unwrap().push(json!({"state": "retired", "kid": key["kid"],
                    "suite": key["suite"], "since": key["since"]}));
            })
        }),
        ("half a file", |place| {
            let text = fs::read_to_string(place.path("keys/ring.json")).unwrap();
            fs::write(place.path("keys/ring.json"), &text[..text.len() / 2]).unwrap();
        }),
        ("an empty file", |place| fs::write(place.path("keys/ring.json"), "").unwrap()),
        ("an old copy", |place| {
            let old = fs::read(place.path("keys/ring.json")).unwrap();
            let keys: Vec<_> =
                fs::read_dir(place.path("keys")).unwrap().map(|key| key.unwrap().path()).collect();
            let rotated = place.shell("bulla keys rotate --now; bulla keys rotate --now");
            assert!(rotated.status.success());
            place.server.sqlite3("UPDATE ring SET generation = 3, fingerprint = zeroblob(32)");
            fs::write(place.path("keys/ring.json"), old).unwrap();
            assert!(keys.iter().all(|key| key.exists()));
        }),
    ];
    for (what, damage) in damages {
        let place = Place::new();
        damage(&place);
        println!("{what}");
        place.mends("bulla doctor", "bulla keys revoke --all");
        place.is_sound();
    }
}

#[test]
fn the_command_suggested_for_a_damaged_key_mends_it() {
    for state in ["active", "staged"] {
        let damages: [fn(&Path); 4] = [
            |key| fs::remove_file(key).unwrap(),
            |key| fs::write(key, "{}").unwrap(),
            |key| {
                let text = fs::read_to_string(key).unwrap();
                fs::write(key, &text[..40]).unwrap();
            },
            |key| fs::write(key, vec![b' '; 8192]).unwrap(),
        ];
        for damage in damages {
            let place = Place::new();
            damage(&place.key(state));
            place.mends_all("bulla keys list", "bulla keys revoke ");
        }
        let place = Place::new();
        let key = place.key(state);
        fs::remove_file(&key).unwrap();
        fs::create_dir(&key).unwrap();
        place.mends("bulla keys list", "rm -r ");
        place.mends_all("bulla keys list", "bulla keys revoke ");
    }
}

#[test]
fn the_command_suggested_for_a_refused_rollover_rolls_over() {
    let place = Place::new();
    place.mends("bulla keys rotate", "bulla keys rotate --now");
    place.is_sound();

    let place = Place::new();
    fs::remove_file(place.key("staged")).unwrap();
    place.edit_ring(|ring| {
        ring["keys"].as_array_mut().unwrap().retain(|key| key["state"] != "staged");
        ring["generation"] = json!(2);
    });
    place.mends_all("bulla keys check", "bulla keys rotate --now");
}

#[test]
fn the_command_that_keys_check_suggests_mends_the_fault() {
    let place = Place::new();
    place.edit_ring(|ring| {
        ring["not_before"] = json!(4_000_000_000_000_u64);
        ring["generation"] = json!(2);
    });
    place.mends_all("bulla keys check", "bulla keys not-before ");
    let place = Place::new();
    let key = place.key("staged");
    fs::copy(&key, place.path("keys/00000001.key")).unwrap();
    place.mends_all("bulla keys check", "rm ");
    assert!(key.exists());
}
