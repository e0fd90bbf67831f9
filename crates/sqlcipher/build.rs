//! Compiles SQLCipher with the provider of this crate.

use cc::Build;
use sqlcipher_src::source_dir;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=provider.c");
    let mut build = Build::new();
    // Unoptimised, every test that opens a database would be slow.
    build.file("provider.c").include(source_dir()).opt_level(2).debug(false).warnings(false);
    for (name, value) in DEFINES {
        build.define(name, value);
    }
    // `libsqlite3-sys` does not depend on this crate: a linker that reads archives once may be past
    // this one when it meets the first use of a symbol.
    build.link_lib_modifier("+whole-archive").compile("sqlcipher");
}

const DEFINES: [(&str, Option<&str>); 13] = [
    ("HAVE_ISNAN", None),
    ("HAVE_LOCALTIME_R", None),
    ("HAVE_STDINT_H", Some("1")),
    ("HAVE_USLEEP", Some("1")),
    ("SQLCIPHER_CRYPTO_CUSTOM", Some("siskin_sqlcipher_setup")),
    ("SQLITE_CORE", None),
    ("SQLITE_DEFAULT_FOREIGN_KEYS", Some("1")),
    ("SQLITE_EXTRA_INIT", Some("sqlcipher_extra_init")),
    ("SQLITE_EXTRA_SHUTDOWN", Some("sqlcipher_extra_shutdown")),
    ("SQLITE_HAS_CODEC", None),
    ("SQLITE_OMIT_LOAD_EXTENSION", None),
    // SQLCipher does not encrypt temporary files: they stay in memory.
    ("SQLITE_TEMP_STORE", Some("2")),
    ("SQLITE_THREADSAFE", Some("1")),
];
