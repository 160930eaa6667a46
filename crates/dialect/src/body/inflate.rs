//! Decompression of request bodies: `Content-Encoding: gzip` and `deflate`, bounded against decompression bombs.

use std::io::{self, Read};

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use zeroize::Zeroizing;

use crate::dialect::RequestRejection;
use crate::fields::FieldError;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// Inflates a body to at most `max_bytes`. `None` if the body is to be used unchanged: `encoding` is neither gzip nor
/// deflate, or the body is not in that format. Some clients declare an encoding that they do not apply, or a charset in
/// its place.
///
/// # Errors
/// [`RequestRejection::BodyTooLarge`] beyond `max_bytes`; [`FieldError::MalformedRequest`] for truncated or corrupt gzip data.
pub(crate) fn inflate(
    encoding: &str,
    body: &[u8],
    max_bytes: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, RequestRejection> {
    let is_encoding = |names: &[&str]| names.iter().any(|name| encoding.trim().eq_ignore_ascii_case(name));
    if is_encoding(&["gzip", "x-gzip"]) && body.starts_with(GZIP_MAGIC) {
        let inflated = read_bounded(MultiGzDecoder::new(body), max_bytes)
            .map_err(|_| RequestRejection::InvalidInput(FieldError::MalformedRequest))?;
        return check_size(inflated, max_bytes).map(Some);
    }
    if !is_encoding(&["deflate"]) {
        return Ok(None);
    }
    if let Ok(inflated) = read_bounded(ZlibDecoder::new(body), max_bytes) {
        return check_size(inflated, max_bytes).map(Some);
    }
    // Raw DEFLATE without the zlib wrapper of RFC 1950, as browsers and .NET send it.
    let mut raw = DeflateDecoder::new(body);
    match read_bounded(&mut raw, max_bytes) {
        Ok(inflated) if inflated.len() > max_bytes || raw.into_inner().is_empty() => {
            check_size(inflated, max_bytes).map(Some)
        }
        _ => Ok(None),
    }
}

/// Reads at most one byte more than `max_bytes`, so that the caller can detect an overlong body.
fn read_bounded(reader: impl Read, max_bytes: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // Allocated at full size, since growing the buffer would leave parts of passwords in freed memory.
    let mut inflated = Zeroizing::new(Vec::with_capacity(max_bytes + 1));
    reader.take(max_bytes as u64 + 1).read_to_end(&mut inflated)?;
    Ok(inflated)
}

fn check_size(inflated: Zeroizing<Vec<u8>>, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, RequestRejection> {
    if inflated.len() > max_bytes { Err(RequestRejection::BodyTooLarge) } else { Ok(inflated) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const MAX_BYTES: usize = 1_000;

    fn compress_in_every_encoding(body: &[u8]) -> [(&'static str, Vec<u8>); 4] {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(body).unwrap();
        zlib.write_all(body).unwrap();
        raw.write_all(body).unwrap();
        let gzip = gzip.finish().unwrap();
        [
            ("gzip", gzip.clone()),
            (" X-GZIP", gzip),
            ("deflate", zlib.finish().unwrap()),
            ("Deflate", raw.finish().unwrap()),
        ]
    }

    fn inflate_to_vec(encoding: &str, body: &[u8]) -> Result<Option<Vec<u8>>, RequestRejection> {
        inflate(encoding, body, MAX_BYTES).map(|inflated| inflated.map(|body| body.to_vec()))
    }

    #[test]
    fn a_decompression_bomb_is_rejected() {
        for (encoding, body) in compress_in_every_encoding(&vec![b' '; 50_000_000]) {
            assert!(body.len() < 60_000 || encoding != "gzip");
            assert_eq!(inflate_to_vec(encoding, &body), Err(RequestRejection::BodyTooLarge), "{encoding}");
        }
    }

    #[test]
    fn an_uncompressed_body_is_left_unchanged() {
        for encoding in ["", "gzip", "deflate", "identity", "UTF-8", "br", "gzip, gzip"] {
            for body in [b"".as_slice(), b"{\"username\":\"mark\"}", b"username=mark&password=1", b"--b\r\n"] {
                assert_eq!(inflate_to_vec(encoding, body), Ok(None), "{encoding}");
            }
        }
    }

    #[test]
    fn truncated_gzip_data_is_rejected() {
        let [(_, gzip), ..] = compress_in_every_encoding(b"a");
        assert_eq!(
            inflate_to_vec("gzip", &gzip[..gzip.len() - 9]),
            Err(RequestRejection::InvalidInput(FieldError::MalformedRequest))
        );
    }

    proptest! {
        #[test]
        fn a_compressed_body_is_inflated(body in prop::collection::vec(any::<u8>(), 0..MAX_BYTES + 50)) {
            for (encoding, sent) in compress_in_every_encoding(&body) {
                let expected = if body.len() > MAX_BYTES { Err(RequestRejection::BodyTooLarge) } else { Ok(Some(body.clone())) };
                prop_assert_eq!(inflate_to_vec(encoding, &sent), expected);
            }
        }

        #[test]
        fn arbitrary_compressed_input_does_not_panic(encoding in "gzip|deflate", body: Vec<u8>) {
            let _ = inflate_to_vec(&encoding, &body);
            let _ = inflate_to_vec("gzip", &[GZIP_MAGIC, &body].concat());
        }
    }
}
