#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (remuda_decoders::target("manifest_entry").run)(bytes));
