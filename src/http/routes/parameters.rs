//! Reads the parameters of a query: the filters and the pages of the lists of `/admin`. A parameter that is unknown or malformed is
//! refused with its name, because an ignored filter would list rows that were not asked for.

use crate::http::Problem;

/// The number of rows of a page, if the query does not say another.
const PAGE: u32 = 100;

/// The most rows of a page.
const PAGE_MAX: u32 = 1000;

/// Reads one parameter. If `read` can't read it, the problem says what the parameter must be.
pub(crate) fn parameter<T>(
    name: &str,
    text: Option<&str>,
    must_be: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let refused = || Problem::bad_request(format!("The parameter {name} must be {must_be}."));
    text.map(|text| read(text).ok_or_else(refused)).transpose()
}

/// Reads the number of rows of a page.
pub(crate) fn limit(text: Option<&str>) -> Result<u32, Problem> {
    let rows = |text: &str| text.parse().ok().filter(|rows| (1..=PAGE_MAX).contains(rows));
    Ok(parameter("limit", text, "a number from 1 to 1000, for example 100", rows)?.unwrap_or(PAGE))
}

/// Describes a query with an unknown parameter. Names the parameter if its name has only letters, digits, `_` and `-`.
pub(crate) fn unknown(error: &impl std::fmt::Display) -> Option<Problem> {
    let text = error.to_string();
    // The name can contain any text, so its end is searched from the end of the message.
    let (name, known) = text.split_once("unknown field `")?.1.rsplit_once("`, expected ")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let named = match (1..=32).contains(&name.len()) && name.chars().all(plain) {
        true => format!("the unknown parameter {name}"),
        false => "an unknown parameter".to_owned(),
    };
    Some(Problem::bad_request(format!("The query has {named}. Expected is {}.", known.replace('`', ""))))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn an_unknown_parameter_of_a_query_is_named_if_its_name_is_plain() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Known {
            #[expect(dead_code, reason = "only the names matter")]
            user: Option<String>,
            #[expect(dead_code, reason = "only the names matter")]
            ip: Option<String>,
        }
        for (query, says) in [
            ("usr=1", "The query has the unknown parameter usr. Expected is user or ip."),
            ("%3Cb%3E=1", "The query has an unknown parameter. Expected is user or ip."),
            ("a`,%20expected%20x=1", "The query has an unknown parameter. Expected is user or ip."),
        ] {
            let error = actix_web::web::Query::<Known>::from_query(query).unwrap_err();
            assert_eq!(unknown(&error).unwrap().detail(), says, "{query}");
        }
    }
}
