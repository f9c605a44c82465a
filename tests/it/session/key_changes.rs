//! Tests sessions while keys roll over or are revoked.

use bulla::internals::{
    clock::Clock as _,
    keyring::{KeyState, Ring},
    session::Denied,
    token::Refused,
};

use super::one_node_and_user;
use crate::support::installation::secs;

/// The ring after a rollover: the staged key is active, the active key is retired.
fn rolled_over(ring: &Ring) -> Ring {
    let mut next = ring.clone();
    next.generation += 1;
    for key in &mut next.keys {
        key.state = match key.state {
            KeyState::Staged => KeyState::Active,
            KeyState::Active => KeyState::Retired,
            other => other,
        };
    }
    next
}

#[tokio::test]
async fn tokens_stay_valid_through_a_rollover() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let tokens = &node.sessions.parts().tokens;
    let sealed =
        |tokens: &bulla::internals::session::Tokens| tokens.sealed().iter().map(|(_, n)| n).sum::<u64>();
    let before = sealed(tokens);
    tokens.install(rolled_over(&installation.ring));
    assert!(node.sessions.authenticate(issued.access.as_str()).is_ok());
    installation.clock.advance(secs(60));
    let renewed = node.renew(&issued.refresh).await.unwrap();
    let (old, new) = (&issued.refresh.as_str()[..9], renewed.refresh.as_ref().unwrap());
    assert_ne!(old, &new.as_str()[..9], "sealed under the new key");
    assert!(sealed(tokens) > before && before > 0, "counts survive the rollover");
    assert!(
        installation.node().await.renew(new).await.is_ok(),
        "a node still behind opens the staged key's tokens"
    );
}

#[tokio::test]
async fn tokens_of_a_revoked_key_are_refused() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let mut ring = rolled_over(&installation.ring);
    ring.keys[0].state = KeyState::Revoked;
    ring.keys[0].root = None;
    node.sessions.parts().tokens.install(ring);
    let denied = node.sessions.authenticate(issued.access.as_str());
    assert!(matches!(denied, Err(Denied::Token(Refused::UnknownKey))), "{denied:?}");
    assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Token(Refused::UnknownKey))));
    let fresh = node.begin(&user).await;
    assert!(node.sessions.authenticate(fresh.access.as_str()).is_ok());
}

#[tokio::test]
async fn tokens_sealed_before_not_before_are_refused() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    installation.clock.advance(secs(1));
    let ring = Ring { not_before: installation.clock.now(), generation: 2, ..installation.ring.clone() };
    node.sessions.parts().tokens.install(ring);
    let denied = node.sessions.authenticate(issued.access.as_str());
    assert!(matches!(denied, Err(Denied::Token(Refused::NotBefore))), "{denied:?}");
    assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Token(Refused::NotBefore))));
    let fresh = node.begin(&user).await;
    assert!(node.sessions.authenticate(fresh.access.as_str()).is_ok());
    assert!(node.renew(&fresh.refresh).await.is_ok());
}

#[tokio::test]
async fn an_access_token_whose_payload_lacks_a_session_is_refused() {
    let (installation, node, _) = one_node_and_user().await;
    for payload in [r#"{"id":"42"}"#, r#"{"sid":"AAAAAAAAAAAAAAAAAAAAAA"}"#, r#"{"id":"42","sid":"x"}"#, "{}"]
    {
        let token = node
            .sessions
            .parts()
            .tokens
            .access(|keys| keys.seal_at(payload, installation.clock.now()))
            .unwrap();
        let denied = node.sessions.authenticate(token.as_str());
        assert!(matches!(denied, Err(Denied::Token(Refused::Payload))), "{payload}: {denied:?}");
    }
}
