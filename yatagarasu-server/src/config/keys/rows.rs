//! The macro that turns the rows of the table into structs and sections.

/// Makes a struct and a [`Section`](super::Section) of each block of rows.
///
/// A row is the meaning of a key as documentation, its name, its type and its default as JSON. What applies follows:
/// `else`, which says what holds if the key is absent, `such as` with an example, and `bounds`.
macro_rules! rows {
    ($(
        $(#[doc = $about:literal])+
        struct $section:ident, $expecting:literal {$(
            $(#[doc = $meaning:literal])+
            $name:ident: $type:ty = $default:tt
                $(, else $absent:expr)? $(, such as $example:tt)? $(, bounds $bounds:expr)?;
        )+}
    )+) => {$(
        $(#[doc = $about])+
        #[derive(Debug, Deserialize, Serialize)]
        #[serde(default, expecting = $expecting)]
        pub(super) struct $section {$(
            $(#[doc = $meaning])+
            pub(super) $name: $type,
        )+}

        impl $section {
            const KEYS: [Key; [$(stringify!($name)),+].len()] = [$(
                Key::new(stringify!($name), concat!($($meaning),+), <$type as setting::Setting>::KIND)
                    .default(|| serde_json::json!($default))
                    $(.absent($absent))? $(.example(|| serde_json::json!($example)))? $(.bounds($bounds))?
            ),+];

            /// The rows.
            pub(super) const SECTION: Section = Section {
                about: concat!($($about),+),
                expecting: $expecting,
                keys: &Self::KEYS,
            };

            /// Reports every value that is outside the bounds of its key. `place` is the path of this section.
            pub(super) fn check_bounds(&self, place: &str, complain: crate::config::error::ErrorSink<'_>) {
                let [$($name),+] = &Self::KEYS;
                $(setting::Setting::check(&self.$name, $name, &$name.place(place), complain);)+
            }
        }

        impl Default for $section {
            fn default() -> Self {
                let [$($name),+] = &Self::KEYS;
                Self { $($name: setting::of_default($name)),+ }
            }
        }

        impl setting::Setting for $section {
            const KIND: Kind = Kind::Section(&Self::SECTION);

            fn check(&self, _: &Key, place: &str, complain: crate::config::error::ErrorSink<'_>) {
                self.check_bounds(place, complain);
            }
        }
    )+};
}
