//! The texts of the pages about errors, devices and times.

use crate::{
    clock::Timestamp,
    problem::{Problem, reason_phrase},
};

/// A title, and advice on what the person can do.
pub(super) fn title_and_advice(problem: &Problem) -> (&'static str, &'static str) {
    match problem.code() {
        "misdirected" => {
            ("Wrong address", "Open the address below. If it is the one you opened, tell the administrator.")
        }
        "foreign_origin" => (
            "This form was refused",
            "Nothing was changed. Open the page of this server, and send the form from there. If that fails as well, tell \
             the administrator: a proxy or an extension of your browser removes the headers Origin and Sec-Fetch-Site.",
        ),
        "throttled" | "busy" => ("Please wait", ""),
        "bad_request" | "bad_authorization" => (
            "This request can't be understood",
            "Open the page again and repeat your last step. If a link led you here, the link is wrong.",
        ),
        "unprocessable" | "conflict" => {
            ("This is not possible", "Go back, correct your input, and send it again.")
        }
        "forbidden" | "no_account" => ("Not allowed", ""),
        "not_found" => {
            ("Not found", "Check the address. If a link led you here, the link is wrong or out of date.")
        }
        "method_not_allowed" => (
            "This address is not a page",
            "Only a form uses this address. Open the page with the form, and send it from there.",
        ),
        "too_slow" => ("The connection is too slow", "Nothing was changed. Send the form again."),
        "too_large" => ("The form is too large", "Nothing was changed. Send the form again with less text."),
        "unsupported_media_type" => (
            "This form can't be read",
            "Nothing was changed. Open the page of this server, and send the form from there.",
        ),
        "headers_too_large" => (
            "Too many cookies",
            "Your browser sends more cookies than this server accepts. Delete the cookies of this site, and sign in again.",
        ),
        "unavailable" | "provider_away" => ("Not available at the moment", ""),
        "internal" => {
            ("Internal error", "You did nothing wrong. Try again; if it fails again, tell the administrator.")
        }
        _ => (reason_phrase(problem.status()), ""),
    }
}

/// The time since `then`, in the largest suitable unit.
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..60 => "just now".into(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_unit_that_says_enough() {
        let told = |seconds: i64| ago(Timestamp::EPOCH, Timestamp::from_millis(seconds * 1000));
        assert_eq!(
            [told(5), told(61), told(7200), told(200_000)],
            ["just now", "1 min ago", "2 h ago", "2 d ago"]
        );
    }
}
