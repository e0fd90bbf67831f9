//! QR codes on a terminal, two rows of modules per line.

use qrcode::{QrCode, render::unicode};

/// The code as text, dark on light so that cameras like it on dark terminals; nothing if `text` is
/// too long.
pub(crate) fn render(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, qrcode::EcLevel::L).ok()?;
    let mut image = code.render::<unicode::Dense1x2>();
    Some(image.dark_color(unicode::Dense1x2::Dark).light_color(unicode::Dense1x2::Light).build())
}

#[test]
fn a_link_fits_and_a_book_does_not() {
    let code = render(&"siskin:".repeat(30)).unwrap();
    assert!(code.lines().count() > 20, "{code}");
    assert!(code.lines().all(|line| line.chars().count() == code.lines().count() * 2 - 1
        || line.chars().count() == code.lines().count() * 2));
    assert_eq!(render(&"x".repeat(10_000)), None);
}
