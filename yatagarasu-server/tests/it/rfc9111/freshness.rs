//! RFC 9111 4.2, 5.1, 5.3: how long an object is fresh, and how old it is.

use std::time::{SystemTime, UNIX_EPOCH};
use yatagarasu_testing::origin::Reply;

use super::{Bed, near, ttl, with_fields};

/// 2840140800 seconds after 1970. It is never in the past, so it makes no object old.
const DATE: (&str, &str) = ("date", "Thu, 01 Jan 2060 00:00:00 GMT");

/// 200 seconds after `DATE`.
const EXPIRES: (&str, &str) = ("expires", "Thu, 01 Jan 2060 00:03:20 GMT");

/// 784111777 seconds after 1970.
const LONG_AGO: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// Checks for how many more seconds an object with these fields is fresh. `None` means that it must be validated.
async fn check(bed: &Bed, fields: &[(&str, &str)], expected: Option<i64>) {
    let object = bed.object([with_fields(Reply::ok("x").with("etag", "\"e\""), fields)]);
    object.get().await;
    let second = object.get().await;
    if let Some(seconds) = expected {
        assert_eq!((second.field("x-cache"), object.times_asked()), ("HIT", 1), "{fields:?}");
        let ttl = ttl(&second);
        assert!(near(ttl, seconds), "{fields:?}: {ttl}, not {seconds}");
    } else {
        assert_eq!((second.field("x-cache"), object.times_asked()), ("MISS", 2), "{fields:?}");
        assert_eq!(object.asked(1).field("if-none-match"), "\"e\"", "{fields:?}");
    }
}

fn seconds_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// RFC 9111 4.2.1
#[tokio::test]
async fn s_maxage_counts_before_max_age_before_expires_before_the_ttl() {
    let bed = Bed::start("", "ttl: 1000").await;
    check(&bed, &[], Some(1000)).await;
    check(&bed, &[("cache-control", "public")], Some(1000)).await;
    check(&bed, &[DATE, EXPIRES], Some(200)).await;
    check(&bed, &[DATE, EXPIRES, ("cache-control", "max-age=300")], Some(300)).await;
    check(&bed, &[DATE, EXPIRES, ("cache-control", "s-maxage=100")], Some(100)).await;
    check(&bed, &[("cache-control", "max-age=300, s-maxage=100")], Some(100)).await;
    check(&bed, &[("cache-control", "s-maxage=500"), ("cache-control", "max-age=100")], Some(500)).await;
    check(&bed, &[("expires", "0"), ("cache-control", "max-age=300")], Some(300)).await;
    check(&bed, &[("cache-control", "max-age=300, s-maxage=0")], None).await;
    check(&bed, &[EXPIRES, ("cache-control", "max-age=0")], None).await;
}

/// RFC 9111 4.2.1: without `Date`, the lifetime counts from the time of arrival.
#[tokio::test]
async fn expires_without_date_counts_from_the_arrival() {
    let bed = Bed::start("", "ttl: 1000").await;
    check(&bed, &[("expires", DATE.1)], Some(2_840_140_800 - seconds_now())).await;
}

/// RFC 9110 5.6.7
#[tokio::test]
async fn dates_are_read_in_all_three_formats() {
    let bed = Bed::start("", "ttl: 1000").await;
    for date in [DATE.1, "Thursday, 01-Jan-60 00:00:00 GMT", "Thu Jan  1 00:00:00 2060"] {
        for expires in [EXPIRES.1, "Thursday, 01-Jan-60 00:03:20 GMT", "Thu Jan  1 00:03:20 2060"] {
            check(&bed, &[("date", date), ("expires", expires)], Some(200)).await;
        }
    }
}

/// RFC 9111 4.2: RFC 9110 prescribes capitals, but a cache should ignore the case.
#[tokio::test]
async fn dates_are_read_whatever_their_case() {
    let bed = Bed::start("", "ttl: 1000").await;
    for expires in
        ["thu, 01 jan 2060 00:03:20 gmt", "THURSDAY, 01-JAN-60 00:03:20 GMT", "thu jan  1 00:03:20 2060"]
    {
        check(&bed, &[DATE, ("expires", expires)], Some(200)).await;
    }
}

/// RFC 9111 4.2, 5.3
#[tokio::test]
async fn an_expires_that_cannot_be_read_lies_in_the_past() {
    let bed = Bed::start("", "ttl: 1000").await;
    for expires in [
        "0",
        "-1",
        "",
        "never",
        "2840141000",
        "2060-01-01T00:03:20Z",
        "Thu, 01 Jan 2060 00:03:20",
        "Thu, 01 Jan 2060 00:03:20 EST",
        "Thu, 01 Jan 2060 00:03:20 +0000",
        "Thu, 32 Jan 2060 00:03:20 GMT",
        "Thu, 01 Jan 2060 24:03:20 GMT",
        "Thu, 01 Jan 60 00:03:20 GMT",
        LONG_AGO,
        DATE.1,
    ] {
        check(&bed, &[DATE, ("expires", expires)], None).await;
    }
}

/// RFC 9111 4.2.1
#[tokio::test]
async fn an_expires_that_stands_twice_lies_in_the_past() {
    let bed = Bed::start("", "ttl: 1000").await;
    check(&bed, &[DATE, EXPIRES, ("expires", "Thu, 01 Jan 2060 01:00:00 GMT")], None).await;
    check(&bed, &[DATE, EXPIRES, ("expires", "0")], None).await;
    check(&bed, &[DATE, ("expires", "Thu, 01 Jan 2060 00:03:20 GMT, Thu, 01 Jan 2060 00:03:20 GMT")], None)
        .await;
}

/// RFC 9111 4.2.1: the shortest one counts, in any order.
#[tokio::test]
async fn of_repeated_directives_the_shortest_counts() {
    let bed = Bed::start("", "ttl: 1000").await;
    for control in ["max-age=100, max-age=300", "max-age=300, max-age=100", "s-maxage=100,s-maxage=300"] {
        check(&bed, &[("cache-control", control)], Some(100)).await;
    }
    check(&bed, &[("cache-control", "max-age=300"), ("cache-control", "max-age=100")], Some(100)).await;
    check(&bed, &[("cache-control", "max-age=100, max-age=100")], Some(100)).await;
    check(&bed, &[("cache-control", "max-age=100, max-age=soon")], None).await;
}

/// RFC 9111 4.2.1: in case of doubt the object is stale.
#[tokio::test]
async fn arguments_that_cannot_be_read_are_zero() {
    let bed = Bed::start("", "ttl: 1000").await;
    for control in [
        "max-age",
        "max-age=",
        "max-age=\"\"",
        "max-age=soon",
        "max-age=\"soon\"",
        "max-age=-1",
        "max-age=+100",
        "max-age=100.5",
        "max-age=100s",
        "max-age='100'",
        "max-age=100 200",
        "max-age=0x64",
        "s-maxage=soon, max-age=100",
    ] {
        check(&bed, &[DATE, EXPIRES, ("cache-control", control)], None).await;
    }
}

/// RFC 9111 5.2
#[tokio::test]
async fn directives_are_read_quoted_and_in_any_case() {
    let bed = Bed::start("", "ttl: 1000").await;
    for control in [
        "max-age=\"100\"",
        "Max-Age=100",
        "MAX-AGE=100, PUBLIC",
        "S-MaxAge=\"100\", max-age=300",
        ",, max-age=100 ,,",
        "max-age=0100",
        "x-max-age=5, max-age=100, max-age-x=6",
    ] {
        check(&bed, &[("cache-control", control)], Some(100)).await;
    }
}

/// RFC 9110 5.6.4
#[tokio::test]
async fn what_stands_in_a_quoted_string_is_no_directive() {
    let bed = Bed::start("", "ttl: 1000").await;
    for control in [
        "x=\"no-store, max-age=5\", max-age=100",
        "max-age=100, x=\"\\\", private, max-age=5\"",
        "x=\"max-age=5\",max-age=100",
    ] {
        check(&bed, &[("cache-control", control)], Some(100)).await;
    }
}

/// RFC 9111 1.2.2
#[tokio::test]
async fn numbers_too_large_to_count_are_the_largest() {
    let bed = Bed::start("", "ttl: 1000").await;
    for number in ["2147483648", "4294967296", "18446744073709551616", "99999999999999999999999999999999"] {
        let control = format!("max-age={number}");
        check(&bed, &[("cache-control", control.as_str())], Some(1 << 31)).await;
        check(&bed, &[("cache-control", "max-age=1000"), ("age", number)], None).await;
    }
}

/// RFC 9111 4.2.3
#[tokio::test]
async fn the_age_that_the_source_says_counts() {
    let bed = Bed::start("", "ttl: 1000").await;
    check(&bed, &[("cache-control", "max-age=300"), ("age", "100")], Some(200)).await;
    check(&bed, &[("cache-control", "max-age=100"), ("age", "100")], None).await;
    check(&bed, &[DATE, EXPIRES, ("age", "100")], Some(100)).await;
    check(&bed, &[("age", "400")], Some(600)).await;
}

/// RFC 9111 4.2.3
#[tokio::test]
async fn of_age_and_date_the_one_that_makes_it_older_counts() {
    let bed = Bed::start("", "ttl: 1000").await;
    let (longest, date) = (("cache-control", "max-age=2147483648"), ("date", LONG_AGO));
    check(&bed, &[("cache-control", "max-age=1000"), date], None).await;
    check(&bed, &[longest, date], Some((1 << 31) - (seconds_now() - 784_111_777))).await;
    check(&bed, &[longest, date, ("age", "100")], Some((1 << 31) - (seconds_now() - 784_111_777))).await;
    check(&bed, &[longest, date, ("age", "2147483000")], Some(648)).await;
    check(&bed, &[("cache-control", "max-age=300"), DATE, ("age", "100")], Some(200)).await;
    check(&bed, &[("cache-control", "max-age=300"), ("date", "yesterday")], Some(300)).await;
}

/// RFC 9111 5.1
#[tokio::test]
async fn of_an_age_the_first_member_counts_if_it_is_a_number() {
    let bed = Bed::start("", "ttl: 1000").await;
    for (age, expected) in [
        ("100, 250", 200),
        ("100,soon", 200),
        ("soon", 300),
        ("-100", 300),
        ("100.5", 300),
        ("", 300),
        ("soon, 100", 300),
    ] {
        check(&bed, &[("cache-control", "max-age=300"), ("age", age)], Some(expected)).await;
    }
    check(&bed, &[("cache-control", "max-age=300"), ("age", "100"), ("age", "250")], Some(200)).await;
}

/// RFC 9111 4, 5.1
#[tokio::test]
async fn answers_from_memory_say_how_old_they_are_and_others_do_not() {
    let bed = Bed::start("", "").await;
    let object = bed.object([Reply::ok("x").with("cache-control", "max-age=300").with("age", "100")]);
    assert_eq!(object.get().await.field("age"), "100", "the source's own");
    let hit = object.get().await;
    let ages: Vec<_> = hit.headers.get_all("age").iter().collect();
    assert_eq!((hit.field("x-cache"), ages.len()), ("HIT", 1));
    let age: i64 = hit.field("age").parse().unwrap();
    assert!((100..=140).contains(&age), "{age}");
    let lifetime = age + ttl(&hit);
    assert!((299..=300).contains(&lifetime), "{lifetime}");

    let object = bed.object([Reply::ok("x")]);
    assert!(!object.get().await.headers.contains_key("age"));
    assert!(object.get().await.headers.contains_key("age"));
}

/// RFC 9111 4.2.2
#[tokio::test]
async fn a_lifetime_is_guessed_only_when_asked_for() {
    let modified = ("last-modified", "Wed, 31 Dec 2059 23:10:00 GMT");
    let bed = Bed::start("", "ttl: 1000").await;
    check(&bed, &[DATE, modified], Some(1000)).await;

    let bed = Bed::start("", "ttl: 1000, heuristic_freshness: true").await;
    check(&bed, &[DATE, modified], Some(300)).await;
    check(&bed, &[("last-modified", LONG_AGO)], Some(24 * 3600)).await;
    check(&bed, &[], Some(1000)).await;
    check(&bed, &[("last-modified", "yesterday")], Some(1000)).await;
}

/// RFC 9111 4.2.2
#[tokio::test]
async fn no_lifetime_is_guessed_where_one_is_named() {
    let bed = Bed::start("", "ttl: 1000, heuristic_freshness: true").await;
    let modified = ("last-modified", LONG_AGO);
    check(&bed, &[modified, ("cache-control", "max-age=100")], Some(100)).await;
    check(&bed, &[modified, ("cache-control", "s-maxage=100")], Some(100)).await;
    check(&bed, &[modified, DATE, EXPIRES], Some(200)).await;
    check(&bed, &[modified, ("expires", "0")], None).await;
    check(&bed, &[modified, ("cache-control", "max-age=soon")], None).await;
}

#[tokio::test]
async fn with_a_ttl_of_zero_what_names_no_lifetime_is_stored_to_be_validated() {
    let bed = Bed::start("", "ttl: 0").await;
    check(&bed, &[], None).await;
    check(&bed, &[("cache-control", "max-age=100")], Some(100)).await;
    check(&bed, &[DATE, EXPIRES], Some(200)).await;
    bed.object([Reply::ok("x")]).is_never_stored(&[], "nothing to validate it with").await;
}

#[tokio::test]
async fn cache_control_respect_lets_the_object_decide() {
    let bed = Bed::start("", "ttl: 1000, cache_control: respect").await;
    check(&bed, &[("cache-control", "max-age=100")], Some(100)).await;
    check(&bed, &[("expires", "0")], None).await;
}

#[tokio::test]
async fn cache_control_override_replaces_the_lifetime_and_nothing_else() {
    let bed = Bed::start("", "ttl: 1000, cache_control: override").await;
    for control in ["max-age=100", "max-age=5000", "s-maxage=0", "max-age=soon"] {
        check(&bed, &[("cache-control", control)], Some(1000)).await;
    }
    check(&bed, &[("expires", "0")], Some(1000)).await;
    check(&bed, &[("cache-control", "max-age=100"), ("age", "400")], Some(600)).await;
    check(&bed, &[("cache-control", "no-cache, max-age=100")], None).await;
    for control in ["no-store", "private, max-age=100"] {
        let reply = Reply::ok("x").with("etag", "\"e\"").with("cache-control", control);
        bed.object([reply]).is_never_stored(&[], control).await;
    }
}

#[tokio::test]
async fn cache_control_ignore_makes_everything_live_for_the_ttl() {
    let bed = Bed::start("", "ttl: 1000, cache_control: ignore").await;
    for control in ["no-store", "private", "no-cache", "max-age=0", "s-maxage=5000", "max-age=soon"] {
        check(&bed, &[("cache-control", control)], Some(1000)).await;
    }
    check(&bed, &[("expires", "0")], Some(1000)).await;
    check(&bed, &[DATE, EXPIRES], Some(1000)).await;
}
