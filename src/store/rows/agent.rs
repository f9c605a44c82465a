//! Names a device for people, from its user agent.

/// The longest user agent that is shown as it is, in characters.
const LONGEST: usize = 60;

/// The browsers: a text in the user agent, their name, and the text before their version. Chrome names Safari and Edge names Chrome,
/// so the order matters.
const BROWSERS: [(&str, &str, &str); 9] = [
    ("Edg/", "Edge", "Edg/"),
    ("OPR/", "Opera", "OPR/"),
    ("Firefox/", "Firefox", "Firefox/"),
    ("FxiOS/", "Firefox", "FxiOS/"),
    ("HeadlessChrome/", "Chrome (headless)", "HeadlessChrome/"),
    ("CriOS/", "Chrome", "CriOS/"),
    ("Chrome/", "Chrome", "Chrome/"),
    ("Safari/", "Safari", "Version/"),
    ("curl/", "curl", "curl/"),
];

/// The systems: a text in the user agent, and their name.
const SYSTEMS: [(&str, &str); 7] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// Returns a name of a device for its owner: `Firefox on Linux`. An unknown user agent is returned as it is, cut to 60 characters.
pub fn device_name(user_agent: &str) -> String {
    name(user_agent, |_| None)
}

/// Returns the same name with the version of the browser, for operators: `Firefox 128 on Linux`.
pub fn device_name_with_version(user_agent: &str) -> String {
    name(user_agent, |mark| {
        let (_, version) = user_agent.split_once(mark)?;
        let digits: String = version.chars().take_while(char::is_ascii_digit).take(4).collect();
        Some(digits).filter(|digits| !digits.is_empty())
    })
}

/// Returns the name, with the version that `version` finds after a mark.
fn name(text: &str, version: impl Fn(&str) -> Option<String>) -> String {
    let browser = BROWSERS.iter().find(|(mark, ..)| text.contains(mark));
    let browser = browser.map(|(_, name, mark)| match version(mark) {
        Some(version) => format!("{name} {version}"),
        None => (*name).to_owned(),
    });
    let system = SYSTEMS.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| (*name).to_owned());
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) if text.is_empty() => "Unknown device".into(),
        (None, None) if text.chars().nth(LONGEST).is_none() => text.into(),
        (None, None) => text.chars().take(LONGEST - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_by_its_browser_with_the_version_and_its_system() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                "Firefox 128 on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 \
                 Safari/537.36 Edg/149.0.0.0",
                "Edge 149 on Windows",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/149.0.0.0 \
                 Safari/537.36",
                "Chrome (headless) 149 on Linux",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari 18 on iPhone",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/149.0.0.0 Safari/537.36",
                "Chrome 149 on macOS",
            ),
            ("curl/7.88.1", "curl 7"),
            ("Firefox/x", "Firefox"),
            ("Safari/1", "Safari"),
            ("my-script Version/3", "my-script Version/3"),
            ("my-script 1.0", "my-script 1.0"),
            ("", "Unknown device"),
        ] {
            assert_eq!(device_name_with_version(agent), name, "{agent}");
        }
    }

    #[test]
    fn the_owner_of_a_device_sees_no_version() {
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0";
        assert_eq!(
            (device_name(agent), device_name("curl/7.88.1")),
            ("Firefox on Linux".into(), "curl".into())
        );
    }

    #[test]
    fn a_long_unknown_agent_is_cut() {
        assert_eq!(device_name(&"é".repeat(60)), "é".repeat(60));
        assert_eq!(device_name(&"é".repeat(61)), "é".repeat(59) + "…");
    }
}
