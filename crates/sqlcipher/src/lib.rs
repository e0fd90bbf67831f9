//! SQLCipher, compiled from source, with AES-256-CBC, HMAC-SHA512 and PBKDF2 from RustCrypto.
//!
//! ```text
//!  rusqlite ─▶ libsqlite3-sys ─▶ sqlcipher.c ─▶ provider.c ─▶ this file ─▶ aes, cbc, hmac, sha2
//! ```
//!
//! `libsqlite3-sys` compiles SQLCipher over OpenSSL only, which took a third of a cold build. Its
//! feature `in_gecko` leaves the symbols of SQLite to another crate: this one. A crate that opens
//! databases names it once: `use sqlcipher as _;`. Databases of either build open in the other.
//!
//! LibTomCrypt, the provider in C that `sqlcipher-src` ships, has no AES instructions: a page of
//! 4 KiB took 33 µs instead of 12 µs.

use std::{
    ffi::{c_int, c_void},
    slice,
};

use aes::Aes256;
use cbc::cipher::{Block, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;

/// Fills `out` with random bytes of the operating system.
///
/// # Safety
///
/// `out` points to `len` writable bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn siskin_sqlcipher_random(
    _: *mut c_void,
    out: *mut c_void,
    len: c_int,
) -> c_int {
    // SAFETY: the caller's contract.
    let out = unsafe { bytes_mut(out.cast(), len) };
    status(out.and_then(|out| getrandom::fill(out).ok()))
}

/// Writes the HMAC-SHA512 of `first` ‖ `second`, 64 bytes, to `out`. `second` may be null.
///
/// # Safety
///
/// Pointers are those of buffers with the lengths beside them.
#[unsafe(no_mangle)]
unsafe extern "C" fn siskin_sqlcipher_hmac(
    _: *mut c_void,
    algorithm: c_int,
    key: *const u8,
    key_len: c_int,
    first: *const u8,
    first_len: c_int,
    second: *const u8,
    second_len: c_int,
    out: *mut u8,
) -> c_int {
    // SAFETY: the caller's contract.
    let (key, first, second, out) = unsafe {
        (
            bytes(key, key_len),
            bytes(first, first_len),
            if second.is_null() { Some(&[][..]) } else { bytes(second, second_len) },
            bytes_mut(out, HMAC_LEN),
        )
    };
    let (Some(key), Some(first), Some(second), Some(out)) = (key, first, second, out) else {
        return ERROR;
    };
    status(hmac(algorithm, key, [first, second]).map(|tag| out.copy_from_slice(&tag)))
}

/// Derives `out` from a password by PBKDF2-HMAC-SHA512.
///
/// # Safety
///
/// Pointers are those of buffers with the lengths beside them.
#[unsafe(no_mangle)]
unsafe extern "C" fn siskin_sqlcipher_kdf(
    _: *mut c_void,
    algorithm: c_int,
    password: *const u8,
    password_len: c_int,
    salt: *const u8,
    salt_len: c_int,
    rounds: c_int,
    out_len: c_int,
    out: *mut u8,
) -> c_int {
    // SAFETY: the caller's contract.
    let (password, salt, out) =
        unsafe { (bytes(password, password_len), bytes(salt, salt_len), bytes_mut(out, out_len)) };
    let (Some(password), Some(salt), Some(out), SHA512) = (password, salt, out, algorithm) else {
        return ERROR;
    };
    let rounds = u32::try_from(rounds).ok().filter(|rounds| *rounds > 0);
    status(
        rounds.and_then(|rounds| pbkdf2::pbkdf2::<Hmac<Sha512>>(password, salt, rounds, out).ok()),
    )
}

/// Encrypts or decrypts whole blocks with AES-256-CBC.
///
/// # Safety
///
/// `key` points to `key_len` bytes, `iv` to 16; `input` and `out` are one buffer of `len` bytes, or
/// two that may overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn siskin_sqlcipher_cipher(
    _: *mut c_void,
    mode: c_int,
    key: *const u8,
    key_len: c_int,
    iv: *const u8,
    input: *const u8,
    len: c_int,
    out: *mut u8,
) -> c_int {
    let Ok(count) = usize::try_from(len) else { return ERROR };
    // SAFETY: the caller's contract; the bytes are copied before a reference to `out` exists.
    let (key, iv, out) = unsafe {
        out.copy_from(input, count);
        (bytes(key, key_len), bytes(iv, BLOCK_LEN), bytes_mut(out, len))
    };
    let (Some(key), Some(iv), Some(out)) = (key, iv, out) else { return ERROR };
    status(cipher(mode, key, iv, out))
}

fn hmac(algorithm: c_int, key: &[u8], parts: [&[u8]; 2]) -> Option<[u8; 64]> {
    if algorithm != SHA512 {
        return None;
    }
    let mut mac = Hmac::<Sha512>::new_from_slice(key).ok()?;
    parts.into_iter().for_each(|part| mac.update(part));
    Some(mac.finalize().into_bytes().into())
}

fn cipher(mode: c_int, key: &[u8], iv: &[u8], bytes: &mut [u8]) -> Option<()> {
    let (blocks, rest) = Block::<Aes256>::slice_as_chunks_mut(bytes);
    if !rest.is_empty() {
        return None;
    }
    match mode {
        ENCRYPT => cbc::Encryptor::<Aes256>::new_from_slices(key, iv).ok()?.encrypt_blocks(blocks),
        DECRYPT => cbc::Decryptor::<Aes256>::new_from_slices(key, iv).ok()?.decrypt_blocks(blocks),
        _ => return None,
    }
    Some(())
}

/// # Safety
///
/// `start` points to `len` bytes that stay unchanged during `'a`.
unsafe fn bytes<'a>(start: *const u8, len: c_int) -> Option<&'a [u8]> {
    let len = usize::try_from(len).ok()?;
    // SAFETY: the caller's contract.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, len) })
}

/// # Safety
///
/// `start` points to `len` bytes that only the result reads and writes during `'a`.
unsafe fn bytes_mut<'a>(start: *mut u8, len: c_int) -> Option<&'a mut [u8]> {
    let len = usize::try_from(len).ok()?;
    // SAFETY: the caller's contract.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts_mut(start, len) })
}

fn status(result: Option<()>) -> c_int {
    if result.is_some() { OK } else { ERROR }
}

/// `SQLITE_OK` and `SQLITE_ERROR`.
const OK: c_int = 0;
const ERROR: c_int = 1;
/// `SQLCIPHER_HMAC_SHA512` and `SQLCIPHER_PBKDF2_HMAC_SHA512`, the default of SQLCipher 4; others
/// are not offered.
const SHA512: c_int = 2;
const DECRYPT: c_int = 0;
const ENCRYPT: c_int = 1;
const HMAC_LEN: c_int = 64;
const BLOCK_LEN: c_int = 16;
