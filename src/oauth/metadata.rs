//! Authorization server metadata, by which clients configure themselves (RFC 8414).

use serde_json::{Value, json};

use crate::jws::Algorithm;

/// The document at `/.well-known/oauth-authorization-server`. `url` is the issuer.
pub fn metadata(url: &str) -> Value {
    let by_secret_or_key = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
    let by_any = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
    let algorithms = Algorithm::ALL.map(Algorithm::name);
    json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/oauth/authorize"),
        "token_endpoint": format!("{url}/oauth/token"),
        "token_endpoint_auth_methods_supported": by_any,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint": format!("{url}/oauth/revoke"),
        "revocation_endpoint_auth_methods_supported": by_any,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint": format!("{url}/oauth/introspect"),
        "introspection_endpoint_auth_methods_supported": by_secret_or_key,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [
            "authorization_code", "refresh_token", "client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    })
}
