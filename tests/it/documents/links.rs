//! Tests that each link of the documents leads to an existing file and heading, and that the index lists every page.

use std::collections::HashMap;

use super::{pages, read, root};

/// The address at which the pages of this repository are shown.
const REPOSITORY: &str = "https://github.com/bulla-sessions/bulla/blob/main/";

/// The lines outside fenced blocks.
fn prose(text: &str) -> String {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The targets of all links and images in a page.
fn links(text: &str) -> Vec<String> {
    let text = prose(text);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

/// The anchors of a page's headings, as the repository's web pages make them.
fn anchors(text: &str) -> Vec<String> {
    let mut seen = HashMap::<String, usize>::new();
    let text = prose(text);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let slugs = headings.map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    });
    slugs
        .map(|slug| {
            let times = seen.entry(slug.clone()).or_default();
            *times += 1;
            if *times == 1 { slug } else { format!("{slug}-{}", *times - 1) }
        })
        .collect()
}

#[test]
fn an_anchor_is_made_of_a_heading_in_lower_case_without_punctuation() {
    let page = "# TLS, or a proxy\n```\n# no heading\n```\n## What the server's own tokens say\n## `a_b`\n## `a_b`\n";
    assert_eq!(anchors(page), ["tls-or-a-proxy", "what-the-servers-own-tokens-say", "a_b", "a_b-1"]);
}

#[test]
fn each_link_leads_to_an_existing_file_and_heading() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages() {
        for link in links(&read(&page)) {
            let (target, anchor) = link.split_once('#').unwrap_or((&link, ""));
            // A client's page is also shown outside the repository, so its links are absolute.
            let path = match target.strip_prefix(REPOSITORY) {
                Some(path) => root().join(path),
                None if target.contains("://") => continue,
                None if target.is_empty() => root().join(&page),
                None => root().join(&page).parent().unwrap().join(target),
            };
            seen += 1;
            if page.starts_with("clients/") && !target.is_empty() && !target.contains("://") {
                wrong.push(format!("{page} is a package's page: {link} must be absolute"));
            }
            if !path.exists() {
                wrong.push(format!("{page}: {link} names a missing file"));
            } else if !anchor.is_empty()
                && !anchors(&read(path.to_str().unwrap())).contains(&anchor.to_owned())
            {
                wrong.push(format!("{page}: {link} names a missing heading"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 50, "only {seen} links seen");
}

#[test]
fn the_index_lists_every_page() {
    let index = links(&read("docs/README.md"));
    for page in pages() {
        let listed = match page.strip_prefix("docs/") {
            // The design has a separate index.
            Some(name)
                if name == "README.md" || name.starts_with("design/") && name != "design/README.md" =>
            {
                continue;
            }
            Some(name) => name.to_owned(),
            None if page.contains('/') => format!("../{page}"),
            None => continue,
        };
        assert!(index.contains(&listed), "docs/README.md does not list {page}");
    }
    let design = links(&read("docs/design/README.md"));
    for page in pages() {
        if let Some(name) = page.strip_prefix("docs/design/").filter(|name| *name != "README.md") {
            assert!(design.contains(&name.to_owned()), "docs/design/README.md does not list {page}");
        }
    }
}

/// The paths in the text: code that begins with a folder of the repository, or names a source file below `src/`.
fn paths(text: &str) -> Vec<String> {
    let folders = ["benches/", "clients/", "docs/", "examples/", "scripts/", "src/", "tests/"];
    let text = prose(text);
    let code = text.split('`').skip(1).step_by(2);
    let words = code.filter_map(|code| code.split_whitespace().next());
    let paths =
        words.filter(|word| folders.iter().any(|folder| word.starts_with(folder)) || word.ends_with(".rs"));
    // A name in angle brackets stands for any value.
    paths.filter(|path| !path.contains('<')).map(str::to_owned).collect()
}

#[test]
fn each_path_in_the_text_exists() {
    let (mut seen, mut missing) = (0, Vec::new());
    for page in pages() {
        for path in paths(&read(&page)) {
            seen += 1;
            if !["", "src/", "src/store/"].iter().any(|folder| root().join(folder).join(&path).exists()) {
                missing.push(format!("{page}: {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "these paths are missing:\n{}", missing.join("\n"));
    assert!(seen > 40, "only {seen} paths seen");
}
