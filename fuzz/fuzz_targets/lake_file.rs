#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (remuda_decoders::target("lake_file").run)(bytes));
