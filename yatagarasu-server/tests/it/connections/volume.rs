//! Tests ten thousand objects at once, byte for byte.

use std::collections::HashSet;

use crate::site::Site;

/// Returns content that depends on the object, of 0 to 8,191 bytes.
fn content(index: u64) -> Vec<u8> {
    let length = index.wrapping_mul(2_654_435_761) % 8192;
    (0..length).map(|offset| (offset ^ index ^ (index >> 8)).to_le_bytes()[0]).collect()
}

#[tokio::test]
async fn ten_thousand_objects_miss_and_hit_with_the_right_bytes() {
    let site = Site::with("", "max_item_size: \"100KB\", max_size: \"200MB\"").await;
    for index in 0..10_000 {
        site.put(&format!("o/{index}"), &[], content(index));
    }
    for expected in ["MISS", "HIT"] {
        let clients: Vec<_> = (0..8u64)
            .map(|client| {
                let http = site.client.clone();
                tokio::spawn(async move {
                    // Each client requests every eighth object, in a scattered order.
                    for step in 0..1250u64 {
                        let index = (step * 7919 % 1250) * 8 + client;
                        let answer = http.get(&format!("/static/o/{index}")).await;
                        assert_eq!((answer.status, answer.field("x-cache")), (200, expected), "{index}");
                        assert!(answer.body == content(index), "{index}");
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
    }
    assert_eq!(site.origin.objects().gets(), 10_000);
    let asked: HashSet<_> = site.origin.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(asked.len(), 10_000);
}
