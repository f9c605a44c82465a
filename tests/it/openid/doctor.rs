//! Tests `bulla doctor` with a provider: its findings, the changes that it recommends, and its exit code.

use serde_json::{Value, json};

use super::generic_provider::keycloak;
use crate::support::providers::{
    internet::{Internet, Reply},
    provider::TestProvider,
    signer::RSA,
};
use crate::support::server::Server;

/// Runs `bulla doctor`; returns the exit code and, by the name of each check, `ok` or the fault.
fn examined(server: &Server) -> (i32, std::collections::BTreeMap<String, String>) {
    let ran = server.cli(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().iter();
    let found: std::collections::BTreeMap<String, String> = checks
        .map(|check| {
            let detail = if check["ok"] == true { "ok" } else { check["detail"].as_str().unwrap() };
            (check["name"].as_str().unwrap().to_owned(), detail.to_owned())
        })
        .collect();
    let faults = found.values().filter(|found| *found != "ok").count();
    assert_eq!(report["faults"], faults);
    (ran.status.code().unwrap(), found)
}

#[test]
fn doctor_finds_no_fault_in_a_sound_installation() {
    let server = Server::new(&[]);
    let (code, found) = examined(&server);
    assert_eq!(code, 0, "{found:?}");
    assert_eq!(
        found.keys().map(String::as_str).collect::<Vec<_>>(),
        ["database", "key ring", "key ring and database", "rows", "settings", "triggers"]
    );
    let told = String::from_utf8(server.cli(&["doctor"]).stdout).unwrap();
    assert!(told.contains("ok  key ring") && !told.contains("FAULT"), "{told}");
}

#[test]
fn doctor_names_the_faults_of_an_installation() {
    let server = Server::new(&[]);
    server.sqlite3("DROP TRIGGER session_deleted");
    let (code, found) = examined(&server);
    assert_eq!(code, 6);
    assert!(found["triggers"].starts_with("session_deleted missing"), "{found:?}");
    std::fs::remove_file(server.path("keys/ring.json")).unwrap();
    assert_ne!(examined(&server).1["key ring"], "ok");
    std::fs::remove_file(server.path("bulla.db")).unwrap();
    assert!(examined(&server).1["database"].contains("bulla init"));
    std::fs::write(server.path("bulla.toml"), "acess_max_age = '2m'").unwrap();
    let (code, found) = examined(&server);
    assert_eq!((code, found.len()), (6, 1));
    assert!(found["settings"].contains("did you mean access_max_age?"), "{found:?}");
    let told = server.cli(&["doctor"]);
    assert!(String::from_utf8(told.stdout).unwrap().starts_with("FAULT  settings"));
    assert_eq!(String::from_utf8(told.stderr).unwrap(), "bulla: 1 fault found\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_a_provider_that_works() {
    let provider = TestProvider::open(keycloak());
    let (code, found) = examined(&provider.server);
    assert_eq!(code, 0, "{found:?}");
    for step in ["client secret", "discovery", "key set", "clock", "redirect address"] {
        assert_eq!(found[&format!("keycloak: {step}")], "ok", "{found:?}");
    }
    let asked = provider.internet.asked(provider.profile.authorization_endpoint);
    assert_eq!(asked[0].query["redirect_uri"], "http://localhost:8080/auth/provider/keycloak/callback");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_a_provider_that_does_not_work_and_what_to_change() {
    let profile = keycloak();
    let (issuer, jwks, authorize) = (profile.issuer, profile.jwks_uri, profile.authorization_endpoint);
    type Break = Box<dyn Fn(&Internet)>;
    let breaks: [(&str, &str, Break); 9] = [
        (
            "discovery",
            "curl https://login.example.org/realms/main/.well-known",
            Box::new(move |internet| {
                internet.at(&format!("{issuer}/.well-known/openid-configuration"), |_| {
                    Reply::Error(404, json!({}))
                });
            }),
        ),
        (
            "discovery",
            "states the issuer",
            Box::new(move |internet| {
                let mut said = keycloak().discovery.unwrap();
                said["issuer"] = json!("https://login.example.org/realms/Main");
                internet.at(&format!("{issuer}/.well-known/openid-configuration"), move |_| {
                    Reply::Json(said.clone())
                });
            }),
        ),
        (
            "key set",
            "no usable key",
            Box::new(move |internet| {
                internet.at(jwks, |_| Reply::Json(json!({"keys": []})));
            }),
        ),
        (
            "clock",
            "behind the provider's; synchronize it by NTP",
            Box::new(move |internet| {
                internet.at(jwks, |_| {
                    Reply::Dated(json!({"keys": [RSA.jwk()]}), "Tue, 01 Jan 2097 00:00:00 GMT")
                });
            }),
        ),
        (
            "clock",
            "ahead of the provider's; synchronize it by NTP",
            Box::new(move |internet| {
                internet.at(jwks, |_| {
                    Reply::Dated(json!({"keys": [RSA.jwk()]}), "Tue, 01 Jan 2008 00:00:00 GMT")
                });
            }),
        ),
        (
            "redirect address",
            "register exactly this redirect address",
            Box::new(move |internet| {
                internet.at(authorize, |_| {
                    Reply::Error(400, json!({"error": "Invalid parameter: redirect_uri"}))
                });
            }),
        ),
        (
            "redirect address",
            "http://localhost:8080/auth/provider/keycloak/callback",
            Box::new(move |internet| {
                internet
                    .at(authorize, |_| Reply::Redirect("/error?error=redirect_mismatch&client_id=x".into()));
            }),
        ),
        (
            "redirect address",
            "knows the redirect address, but refuses the login with the error invalid_scope",
            Box::new(move |internet| {
                internet.at(authorize, |_| {
                    let back = "http://localhost:8080/auth/provider/keycloak/callback";
                    Reply::Redirect(format!("{back}?error=invalid_scope&error_description=x&state=y"))
                });
            }),
        ),
        (
            "redirect address",
            "the authorization endpoint",
            Box::new(move |internet| {
                let mut said = keycloak().discovery.unwrap();
                said["authorization_endpoint"] = json!("https://nowhere.example/authorize");
                internet.at(&format!("{issuer}/.well-known/openid-configuration"), move |_| {
                    Reply::Json(said.clone())
                });
            }),
        ),
    ];
    let provider = TestProvider::open(keycloak());
    for (step, says, breaks) in breaks {
        provider.build();
        breaks(&provider.internet);
        let (code, found) = examined(&provider.server);
        assert_eq!(code, 6, "{step}: {found:?}");
        assert!(found[&format!("keycloak: {step}")].contains(says), "{step}: {found:?}");
    }
    provider.build();
    std::fs::remove_file(provider.server.path("secret")).unwrap();
    let (code, found) = examined(&provider.server);
    assert_eq!(code, 6);
    assert!(found["keycloak: client secret"].contains("secret: No such file"), "{found:?}");
}
