//! Compressed batches: what is written is read, limits hold, damage is found.

use super::*;

/// The codecs of this build, each with all of its levels, zstd's with a choice of them.
fn codecs() -> impl Strategy<Value = (Compression, Option<i32>)> {
    let mut codecs = Vec::new();
    for compression in Compression::ALL.into_iter().filter(|compression| compression.is_supported()) {
        codecs.push((compression, None));
        let levels = compression.levels().into_iter().flatten();
        let few = levels.filter(|level| (-1..=12).contains(level) || [-131_072, -100, 19].contains(level));
        codecs.extend(few.map(|level| (compression, Some(level))));
    }
    prop::sample::select(codecs)
}

fn compressed(header: BatchHeader, records: &[Owned], codec: (Compression, Option<i32>)) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new();
    builder.set_header(header).unwrap();
    builder.set_compression(codec.0);
    builder.set_compression_level(codec.1);
    for record in records {
        builder.skip_offsets(record.gap).unwrap();
        builder.push(record.view()).unwrap();
    }
    builder.build().unwrap()
}

/// Records that are larger than a codec's blocks, and compress in parts.
fn large() -> impl Strategy<Value = Vec<Owned>> {
    let piece =
        prop_oneof![vec(any::<u8>(), 0..100), (any::<u8>(), 0usize..3000).prop_map(|(b, n)| vec![b; n])];
    let value = vec(piece, 0..200).prop_map(|pieces| pieces.concat());
    vec(value, 1..4).prop_map(|values| {
        let record = |value| Owned { gap: 0, timestamp: 1, key: None, value: Some(value), headers: vec![] };
        values.into_iter().map(record).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_compressed_is_read_back(
        header in headers(),
        records in prop_oneof![3 => records(), 1 => large()],
        codec in codecs(),
    ) {
        let plain = build(header, &records);
        let batch = compressed(header, &records, codec);
        let read = read_one(batch.bytes());
        prop_assert_eq!(read.compression(), codec.0);
        prop_assert_eq!(owned(&read), records);
        prop_assert_eq!(read.decompressed_size(), Some(plain.size_in_bytes() - header::HEADER_SIZE));
        let attributes = plain.header().attributes.with_compression(codec.0);
        prop_assert_eq!(read.header(), &BatchHeader { attributes, ..*plain.header() });
    }

    #[test]
    fn the_limit_holds_to_the_byte(records in records(), codec in codecs(), short in 1usize..100) {
        let batch = compressed(BatchHeader::default(), &records, codec);
        let size = build(BatchHeader::default(), &records).size_in_bytes() - header::HEADER_SIZE;
        let read = |limit| batches(batch.bytes()).with_decompression_limit(limit).next().unwrap().unwrap();
        prop_assert_eq!(owned(&read(size)), records.clone());
        if codec.0 != Compression::None {
            let limit = size.saturating_sub(short);
            let batch = read(limit);
            let mut refused = batch.records();
            let error = refused.next().unwrap().unwrap_err();
            prop_assert_eq!(error.kind, BatchErrorKind::TooLarge(limit));
            prop_assert!(refused.next().is_none());
        }
    }

    #[test]
    fn any_change_to_a_stream_is_read_without_panic(
        records in prop_oneof![8 => records(), 1 => large()],
        codec in codecs(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let batch = compressed(BatchHeader::default(), &records, codec);
        let mut payload = batch.bytes()[header::HEADER_SIZE..].to_vec();
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        payload.truncate(cut.map_or(payload.len(), |cut| cut.index(payload.len())));
        let _ = read_all(&sealed(*batch.header(), &payload));
    }

    #[test]
    fn any_bytes_are_no_stream_that_panics(codec in codecs(), bytes in vec(any::<u8>(), 0..100), has_magic: bool) {
        let magic: &[u8] = match codec.0 {
            Compression::Gzip => b"\x1f\x8b\x08",
            Compression::Snappy => b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01",
            Compression::Lz4 => b"\x04\x22\x4d\x18\x60\x40\x82",
            Compression::Zstd => b"\x28\xb5\x2f\xfd",
            _ => b"",
        };
        let attributes = Attributes::default().with_compression(codec.0);
        let header = BatchHeader { attributes, last_offset_delta: 0, record_count: 1, ..BatchHeader::default() };
        let _ = read_all(&sealed(header, &[if has_magic { magic } else { b"" }, &bytes].concat()));
    }
}

fn supported() -> impl Iterator<Item = Compression> {
    Compression::ALL.into_iter().filter(|codec| codec.is_supported() && *codec != Compression::None)
}

#[test]
fn a_codec_that_this_build_lacks_is_an_error_of_its_own() {
    for codec in Compression::ALL.into_iter().filter(|codec| !codec.is_supported()) {
        let what = Unsupported::Compression(codec);
        let mut builder = RecordBatchBuilder::new();
        builder.push(NewRecord::new(0, None, None)).unwrap();
        builder.set_compression(codec);
        assert_eq!(builder.build().unwrap_err(), BuildError::Unsupported { what });

        let (header, payload) = one_record(&[plain()]);
        let set =
            sealed(BatchHeader { attributes: header.attributes.with_compression(codec), ..header }, &payload);
        assert_eq!(error_of(&set), BatchErrorKind::Unsupported(what));
        // What needs no records can still be read.
        assert_eq!(read_one(&set).next_offset(), 1);
    }
}

#[test]
fn a_level_that_the_codec_does_not_have_is_refused() {
    for (compression, level) in [(Compression::Gzip, 0), (Compression::Gzip, 10), (Compression::Zstd, 23)] {
        if compression.is_supported() {
            let mut builder = RecordBatchBuilder::new();
            builder.push(NewRecord::new(0, None, None)).unwrap();
            builder.set_compression(compression);
            builder.set_compression_level(Some(level));
            assert_eq!(builder.build().unwrap_err(), BuildError::Level { compression, level });
        }
    }
}

#[test]
fn a_higher_level_makes_fewer_bytes() {
    // Words of a small vocabulary, in an order without a period.
    let words = (0..30_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40);
    let text: Vec<u8> = words.flat_map(|n| format!("{} ", n * n % 509).into_bytes()).collect();
    let record = [Owned { value: Some(text), ..plain() }];
    for (codec, low, high) in [(Compression::Gzip, 1, 9), (Compression::Zstd, -50, 19)] {
        let size = |level| compressed(BatchHeader::default(), &record, (codec, Some(level))).size_in_bytes();
        assert!(!codec.is_supported() || size(high) < size(low), "{codec}");
    }
}

#[test]
fn a_header_without_records_hides_no_damaged_stream() {
    for codec in supported() {
        let attributes = Attributes::default().with_compression(codec);
        let header = BatchHeader { attributes, last_offset_delta: 0, ..BatchHeader::default() };
        let error = error_of(&sealed(header, b"no stream"));
        assert_eq!(error, BatchErrorKind::Corrupt(Corruption::Stream(codec)));
    }
}

#[test]
fn memory_is_used_again_when_nobody_holds_it() {
    let large = Owned { value: Some(vec![7; 100_000]), ..plain() };
    let mut decompressor = Decompressor::default();
    for codec in supported() {
        let batch = compressed(BatchHeader::default(), std::slice::from_ref(&large), (codec, None));
        let mut read = || {
            let batch = read_one(batch.bytes());
            batch.decompress(&mut decompressor).unwrap();
            let value = batch.records().next().unwrap().unwrap().value.unwrap();
            batch.slice(value)
        };
        let first = read();
        let address = first.as_ptr();
        let second = read();
        assert_ne!(second.as_ptr(), address, "{codec}: the first is still held");
        assert_eq!(first, second);
        let address = second.as_ptr();
        drop((first, second));
        assert_eq!(read().as_ptr(), address, "{codec}");
    }
}

#[test]
fn bytes_that_do_not_compress_grow_by_little() {
    let numbers = std::iter::successors(Some(1u64), |number| {
        Some(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    });
    let random: Vec<u8> = numbers.map(|number| (number >> 56) as u8).take(300_000).collect();
    let record = [Owned { value: Some(random), ..plain() }];
    let size = build(BatchHeader::default(), &record).size_in_bytes();
    for codec in supported() {
        let batch = compressed(BatchHeader::default(), &record, (codec, None));
        assert!(batch.size_in_bytes() < size + 200, "{codec}: {} for {size}", batch.size_in_bytes());
        assert_eq!(owned(&read_one(batch.bytes())), record);
    }
}

/// LZ4 frames of other writers: with checksums, with the content's size, with linked blocks.
#[cfg(feature = "compression-lz4")]
mod lz4 {
    use twox_hash::XxHash32;

    use super::*;

    const CONTENT_SIZE: u8 = 1 << 3;
    const CHECKSUMS: u8 = 1 << 4 | 1 << 2;
    const INDEPENDENT: u8 = 1 << 5;

    /// What a frame begins with.
    fn start(descriptor: &[u8]) -> Vec<u8> {
        let checksum = (XxHash32::oneshot(0, descriptor) >> 8) as u8;
        [b"\x04\x22\x4d\x18", descriptor, &[checksum]].concat()
    }

    /// A record whose value is 12 times "0123456789abcdef", in two blocks of one frame: the second only
    /// repeats what the first has.
    fn frame(flags: u8) -> (BatchHeader, Vec<u8>) {
        let value = b"0123456789abcdef".repeat(12);
        let (header, payload) = one_record(&[Owned { value: Some(value), ..plain() }]);
        let (first, second) = payload.split_at(100);
        let second = match flags & INDEPENDENT {
            0 => lz4_flex::block::compress_with_dict(second, first),
            _ => lz4_flex::block::compress(second),
        };
        let mut descriptor = vec![0x40 | flags, 0x40];
        if flags & CONTENT_SIZE != 0 {
            descriptor.extend((payload.len() as u64).to_le_bytes());
        }
        let mut frame = start(&descriptor);
        for block in [lz4_flex::block::compress(first), second] {
            frame.extend((block.len() as u32).to_le_bytes());
            frame.extend(&block);
            if flags & CHECKSUMS != 0 {
                frame.extend(XxHash32::oneshot(0, &block).to_le_bytes());
            }
        }
        frame.extend([0; 4]);
        if flags & CHECKSUMS != 0 {
            frame.extend(XxHash32::oneshot(0, &payload).to_le_bytes());
        }
        (BatchHeader { attributes: header.attributes.with_compression(Compression::Lz4), ..header }, frame)
    }

    #[test]
    fn frames_of_all_options_are_read() {
        for flags in [0, CONTENT_SIZE, CHECKSUMS, CONTENT_SIZE | CHECKSUMS] {
            for independent in [0, INDEPENDENT] {
                let (header, frame) = frame(flags | independent);
                assert_eq!(read_all(&sealed(header, &frame)), Ok(1), "{flags:#x} {independent:#x}");
                assert_eq!(read_all(&sealed(header, &frame.repeat(2))).unwrap_err().kind, TWICE);
            }
        }
    }

    #[test]
    fn a_block_is_no_larger_than_its_frame_says() {
        let (header, payload) = one_record(&[Owned { value: Some(vec![7; 70_000]), ..plain() }]);
        let header =
            BatchHeader { attributes: header.attributes.with_compression(Compression::Lz4), ..header };
        let (stored, compressed) = (payload.clone(), lz4_flex::block::compress(&payload));
        for (block, flag) in [(stored, 1u32 << 31), (compressed, 0)] {
            // Blocks of up to 64 KiB, and of up to 256 KiB.
            let read = [0x40, 0x50].map(|block_size| {
                let size = (block.len() as u32 | flag).to_le_bytes();
                let start = start(&[0x40 | INDEPENDENT, block_size]);
                read_all(&sealed(header, &[&start[..], &size, &block, &[0; 4]].concat()))
            });
            assert!(
                matches!(&read[0], Err(BatchError { kind: BatchErrorKind::Corrupt(_), .. })),
                "{:?}",
                read[0]
            );
            assert_eq!(read[1], Ok(1));
        }
    }

    #[test]
    fn frames_of_another_version_or_with_a_dictionary_are_refused() {
        const DICTIONARY: u8 = 1;
        const RESERVED: u8 = 1 << 1;
        const VERSION: u8 = 1 << 7;
        for flag in [DICTIONARY, RESERVED, VERSION] {
            let (header, frame) = frame(flag | INDEPENDENT);
            let damaged = BatchErrorKind::Corrupt(Corruption::Stream(Compression::Lz4));
            assert_eq!(error_of(&sealed(header, &frame)), damaged, "{flag:#x}");
        }
    }

    /// Two frames hold the record of 201 bytes twice, and the header counts it once.
    const TWICE: BatchErrorKind = BatchErrorKind::Corrupt(Corruption::TrailingBytes(201));

    #[test]
    fn the_content_has_the_size_that_its_frame_says() {
        let (header, frame) = frame(CONTENT_SIZE | INDEPENDENT);
        let (descriptor, blocks) = (&frame[4..14], &frame[15..]);
        for (change, is_right) in [(0, true), (1, false)] {
            let mut descriptor = descriptor.to_vec();
            descriptor[2] ^= change;
            let outcome = read_all(&sealed(header, &[&start(&descriptor), blocks].concat()));
            assert_eq!(outcome.is_ok(), is_right, "{outcome:?}");
        }
    }

    #[test]
    fn a_block_refers_to_nothing_before_its_own_frame() {
        let frames = |blocks: [&[u8]; 2]| {
            let frame = |block: &[u8]| {
                // Linked blocks, and no checksums.
                let size = (block.len() as u32).to_le_bytes();
                [&start(&[0x40, 0x40])[..], &size, block, &[0; 4]].concat()
            };
            blocks.map(frame).concat()
        };
        let value = b"0123456789abcdef".repeat(12);
        let (header, payload) = one_record(&[Owned { value: Some(value), ..plain() }]);
        let header =
            BatchHeader { attributes: header.attributes.with_compression(Compression::Lz4), ..header };
        let (first, second) = payload.split_at(100);
        let alone = lz4_flex::block::compress(second);
        let referring = lz4_flex::block::compress_with_dict(second, first);
        let first = lz4_flex::block::compress(first);
        assert_eq!(read_all(&sealed(header, &frames([&first, &alone]))), Ok(1));
        let damaged = BatchErrorKind::Corrupt(Corruption::Stream(Compression::Lz4));
        assert_eq!(error_of(&sealed(header, &frames([&first, &referring]))), damaged);
    }

    #[test]
    fn a_frame_with_checksums_has_no_byte_that_can_be_changed() {
        let (header, frame) = frame(CONTENT_SIZE | CHECKSUMS | INDEPENDENT);
        for at in 0..frame.len() {
            for change in [1, 0x80] {
                let mut changed = frame.clone();
                changed[at] ^= change;
                assert!(read_all(&sealed(header, &changed)).is_err(), "byte {at}");
            }
        }
    }
}
