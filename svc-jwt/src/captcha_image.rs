//! Drawing a captcha's picture: the same bytes for the same captcha, on threads with a bounded queue before them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use captcha::Captcha;
use captcha::filters::Wave;
use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use lodepng::{ColorType, Image};
use stele_core::usecase::captcha::CaptchaImage;
use stele_core::{Error, Result};
use stele_service::ConfigError;
use tokio::sync::{mpsc, oneshot};

/// The picture's size, in pixels.
const WIDTH: usize = 260;
const HEIGHT: usize = 120;
/// How far the letters swing, in pixels.
const WAVE_AMPLITUDE: u32 = 10;
/// Of 256 pixels, so many are blackened.
const NOISE_DENSITY: u8 = 51;
/// How many dots there are.
const DOT_COUNT: usize = 8;

/// How many pictures may wait, for each thread that draws: some 0.1 s of work.
const QUEUE_SLOTS_PER_THREAD: usize = 32;
/// `Retry-After` when the queue is full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Draws pictures on few threads of its own: anonymous clients may ask for any number, and logins need the cores too.
/// The threads end when it is dropped.
pub struct CaptchaRenderer {
    jobs: mpsc::Sender<RenderJob>,
}

struct RenderJob {
    picture: CaptchaImage,
    reply: oneshot::Sender<Option<Vec<u8>>>,
}

/// What waits to be drawn, shared by the threads.
#[derive(Clone)]
struct RenderQueue(Arc<Mutex<mpsc::Receiver<RenderJob>>>);

impl CaptchaRenderer {
    /// A painter with a thread for every two cores.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start() -> Result<Self, ConfigError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.div_ceil(2);
        let (painter, queue) = Self::with_capacity(threads * QUEUE_SLOTS_PER_THREAD);
        for _ in 0..threads {
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name("stele-picture".to_owned()).spawn(move || queue.run());
            thread.map_err(|e| ConfigError::new(format!("no thread to draw captchas on: {e}")))?;
        }
        Ok(painter)
    }

    fn with_capacity(places: usize) -> (Self, RenderQueue) {
        let (jobs, queue) = mpsc::channel(places);
        (Self { jobs }, RenderQueue(Arc::new(Mutex::new(queue))))
    }

    /// The picture as PNG. If the future is dropped before the drawing has begun, nothing is drawn.
    ///
    /// # Errors
    /// [`Error::Busy`] at once if the queue is full; faults of ours.
    pub async fn render_png(&self, picture: CaptchaImage) -> Result<Vec<u8>> {
        self.reserve()?.render_png(picture).await
    }

    /// A place in the queue, to be taken before a view is counted.
    ///
    /// # Errors
    /// `Busy` if the queue is full.
    pub fn reserve(&self) -> Result<QueueSlot<'_>> {
        self.jobs.try_reserve().map(QueueSlot).map_err(|_| Error::Busy { retry_after: RETRY_AFTER })
    }
}

/// A place in the queue, given back when it is dropped.
pub struct QueueSlot<'a>(mpsc::Permit<'a, RenderJob>);

impl QueueSlot<'_> {
    /// The picture as a PNG.
    ///
    /// # Errors
    /// Faults of ours.
    pub async fn render_png(self, picture: CaptchaImage) -> Result<Vec<u8>> {
        let (reply, drawn) = oneshot::channel();
        self.0.send(RenderJob { picture, reply });
        drawn.await.map_err(Error::internal)?.ok_or_else(|| Error::internal("a captcha could not be drawn"))
    }
}

impl RenderQueue {
    fn run(&self) {
        while let Some(RenderJob { picture, reply }) = self.next_job() {
            // What panics has failed; the thread goes on.
            let png = catch_unwind(AssertUnwindSafe(|| render(&picture))).ok().flatten();
            // The client may have gone meanwhile.
            let _ = reply.send(png);
        }
    }

    /// Waits for a job whose client is still there; `None` once the painter is dropped.
    fn next_job(&self) -> Option<RenderJob> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let job = queue.blocking_recv()?;
            if !job.reply.is_closed() {
                return Some(job);
            }
        }
    }
}

/// A picture in which a person can read the text. It follows from `picture` alone: if the noise were new each time, the
/// median of several pictures would be without it.
fn render(picture: &CaptchaImage) -> Option<Vec<u8>> {
    let mut pixels = render_text(&picture.text)?;
    let mut random = ChaCha8Rng::from_seed(picture.seed);
    let mut noise = vec![0; pixels.len()];
    random.fill_bytes(&mut noise);
    for (pixel, noise) in pixels.iter_mut().zip(noise) {
        if noise < NOISE_DENSITY {
            *pixel = 0;
        }
    }
    let mut dots = [[0; 5]; DOT_COUNT];
    random.fill_bytes(dots.as_flattened_mut());
    for [a, b, c, d, e] in dots {
        let at = (usize::from(u16::from_le_bytes([a, b])) % WIDTH, usize::from(u16::from_le_bytes([c, d])) % HEIGHT);
        draw_dot(&mut pixels, at, usize::from(2 + e % 3));
    }
    lodepng::encode_memory(&pixels, WIDTH, HEIGHT, ColorType::GREY, 8).ok()
}

/// The grey values of the text without noise, row by row. The library has noise of its own, but takes no seed for it.
fn render_text(text: &str) -> Option<Vec<u8>> {
    let mut captcha = Captcha::new();
    for letter in text.chars() {
        // The library draws a random one of the letters it is given: give it one.
        captcha.set_chars(&[letter]).add_char();
    }
    captcha
        .apply_filter(Wave::new(2.0, WAVE_AMPLITUDE.into()).horizontal())
        .apply_filter(Wave::new(2.0, WAVE_AMPLITUDE.into()).vertical())
        .view(u32::try_from(WIDTH).ok()?, u32::try_from(HEIGHT).ok()?);
    match lodepng::decode_memory(captcha.as_png()?, ColorType::GREY, 8).ok()? {
        Image::Grey(bitmap) => Some(bitmap.buffer.iter().map(|pixel| pixel.value()).collect()),
        _ => None,
    }
}

/// Blackens what is within `radius` of a pixel.
fn draw_dot(pixels: &mut [u8], (x, y): (usize, usize), radius: usize) {
    for row in y.saturating_sub(radius)..=(y + radius).min(HEIGHT - 1) {
        for column in x.saturating_sub(radius)..=(x + radius).min(WIDTH - 1) {
            if row.abs_diff(y).pow(2) + column.abs_diff(x).pow(2) <= radius.pow(2)
                && let Some(pixel) = pixels.get_mut(row * WIDTH + column)
            {
                *pixel = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captcha_picture(text: &str, seed: u8) -> CaptchaImage {
        CaptchaImage { text: text.to_owned(), seed: [seed; 32] }
    }

    #[test]
    fn every_captcha_letter_is_supported() {
        let drawn = Captcha::new().supported_chars();
        for letter in "abcdefghjkmnpqrstuvwxy3456789".chars() {
            assert!(drawn.contains(&letter), "{letter}");
        }
    }

    #[test]
    fn the_widest_text_fits() {
        let mut captcha = Captcha::new();
        for letter in "mwmwm".chars() {
            captcha.set_chars(&[letter]).add_char();
        }
        let area = captcha.text_area();
        assert!(area.right - area.left + 2 * WAVE_AMPLITUDE < u32::try_from(WIDTH).unwrap(), "{area:?}");
        assert_eq!(captcha.chars_as_string(), "mwmwm");
    }

    #[test]
    fn rendering_is_deterministic() {
        let png = render(&captcha_picture("abc34", 1)).unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
        for _ in 0..3 {
            assert_eq!(render(&captcha_picture("abc34", 1)).unwrap(), png);
        }
        assert_ne!(render(&captcha_picture("abc34", 2)).unwrap(), png);
        assert_ne!(render(&captcha_picture("abc35", 1)).unwrap(), png);
    }

    /// How many of a thousand pixels are dark.
    fn dark_pixels_per_thousand(pixels: &[u8]) -> usize {
        pixels.iter().filter(|&&pixel| pixel < 128).count() * 1_000 / pixels.len()
    }

    #[test]
    fn an_image_has_letters_and_one_fifth_noise() {
        let plain = render_text("abc34").unwrap();
        let Ok(Image::Grey(bitmap)) =
            lodepng::decode_memory(render(&captcha_picture("abc34", 1)).unwrap(), ColorType::GREY, 8)
        else {
            panic!("no picture")
        };
        assert_eq!((bitmap.width, bitmap.height), (WIDTH, HEIGHT));
        let noisy: Vec<u8> = bitmap.buffer.iter().map(|pixel| pixel.value()).collect();
        assert!(plain.iter().zip(&noisy).all(|(plain, noisy)| noisy <= plain));
        let expected = dark_pixels_per_thousand(&plain) + (1_000 - dark_pixels_per_thousand(&plain)) / 5;
        assert!((30..300).contains(&dark_pixels_per_thousand(&plain)), "{}", dark_pixels_per_thousand(&plain));
        assert!(
            dark_pixels_per_thousand(&noisy).abs_diff(expected) < 30,
            "{} of {expected}",
            dark_pixels_per_thousand(&noisy)
        );
    }

    #[tokio::test]
    async fn a_full_queue_rejects_at_once_and_a_disconnected_client_is_skipped() {
        let (painter, queue) = CaptchaRenderer::with_capacity(2);
        let mut waiting: Vec<_> =
            (0..2).map(|seed| Box::pin(painter.render_png(captcha_picture("abc34", seed)))).collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one.as_mut()).is_pending());
        }
        let refused = painter.render_png(captcha_picture("abc34", 3)).await;
        assert!(matches!(refused, Err(Error::Busy { .. })), "{refused:?}");
        drop(waiting.remove(0));
        let next = queue.clone();
        let job = std::thread::spawn(move || next.next_job().unwrap()).join().unwrap();
        assert_eq!(job.picture.seed, [1; 32], "the first has gone");
        job.reply.send(render(&job.picture)).unwrap();
        assert_eq!(waiting.remove(0).await.unwrap(), render(&captcha_picture("abc34", 1)).unwrap());
        // Both places are free again, and the threads end with the painter.
        let served = std::thread::spawn(move || queue.run());
        assert_eq!(
            painter.render_png(captcha_picture("abc34", 4)).await.unwrap(),
            render(&captcha_picture("abc34", 4)).unwrap()
        );
        drop(waiting);
        drop(painter);
        served.join().unwrap();
    }
}
