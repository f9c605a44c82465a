//! HTTP: the server, and the middleware for other actix-web apps.
