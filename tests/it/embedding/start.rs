//! What a program is told if its installation can't start.

use bulla::{Bulla, Site, StartError};

/// The error of a start with this site.
async fn refused(site: Option<Site>) -> String {
    let home = tempfile::tempdir().unwrap();
    let builder = Bulla::builder(home.path().join("keys"), home.path().join("bulla.db")).init();
    let builder = match site {
        Some(site) => builder.site(site),
        None => builder,
    };
    let error = builder.start().await.unwrap_err();
    assert!(matches!(error, StartError::Site(_)), "{error:?}");
    assert!(!home.path().join("bulla.db").exists(), "nothing is created");
    error.to_string()
}

#[tokio::test]
async fn a_program_without_a_site_learns_which_call_is_missing() {
    let error = refused(None).await;
    assert!(error.contains("Builder::site") && error.contains("Site::loopback(port, false)"), "{error}");
}

#[tokio::test]
async fn a_site_that_is_no_origin_is_named() {
    for site in ["app.example.org", "https://app.example.org/app", "http://"] {
        let error = refused(Some(Site::public(site))).await;
        assert!(
            error.contains("is not an origin") && error.contains("https://app.example.org"),
            "{site}: {error}"
        );
    }
}
