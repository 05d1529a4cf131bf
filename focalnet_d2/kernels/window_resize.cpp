// Bilinear enlargement of a window of an image in Pillow's arithmetic: every pixel is a mean of two neighbours in its
// row and then of two rows, with weights in integers of 22 bits, rounded to 8 bits after each of the two steps.

#include <cstdint>
#include <vector>

namespace {

constexpr int POINT = 22;
constexpr int32_t HALF = 1 << (POINT - 1);

// Mean of two bytes; the weights add up to 2^22 but for rounding, so that it stays below 256.
inline uint8_t mix(int32_t a, int32_t weight_a, int32_t b, int32_t weight_b) {
    return static_cast<uint8_t>((HALF + a * weight_a + b * weight_b) >> POINT);
}

// One row of the source -> three planes of `size` bytes. The colours of a pixel travel in one word.
void stretch_row(const uint8_t* source, int64_t pixel_stride, int64_t colour_stride, int64_t width,
                 const int32_t* __restrict first, const int32_t* __restrict weight_a,
                 const int32_t* __restrict weight_b, int64_t size,
                 int32_t* __restrict words, uint8_t* __restrict target) {
    const uint8_t *red = source, *green = source + colour_stride, *blue = green + colour_stride;
    for (int64_t x = 0, at = 0; x < width; ++x, at += pixel_stride)
        words[x] = red[at] | green[at] << 8 | blue[at] << 16;
    words[width] = 0;  // right of the last pixel, with weight 0
    for (int64_t x = 0; x < size; ++x) {
        const int32_t a = words[first[x]], b = words[first[x] + 1];
        target[x] = mix(a & 255, weight_a[x], b & 255, weight_b[x]);
        target[x + size] = mix(a >> 8 & 255, weight_a[x], b >> 8 & 255, weight_b[x]);
        target[x + 2 * size] = mix(a >> 16, weight_a[x], b >> 16, weight_b[x]);
    }
}

void mix_rows(const uint8_t* __restrict a, int32_t weight_a, const uint8_t* __restrict b, int32_t weight_b,
              int64_t size, uint8_t* __restrict target) {
    for (int64_t x = 0; x < size; ++x) target[x] = mix(a[x], weight_a, b[x], weight_b);
}

}  // namespace

// source: (height, width, 3) bytes, strides of any sign. target: three planes of (rows_out, columns_out) bytes.
// columns, rows: of each output the first of its two neighbours, then the weights of the first, then of the second.
extern "C" void enlarge_window(const uint8_t* source, int64_t row_stride, int64_t pixel_stride, int64_t colour_stride,
                               int64_t height, int64_t width, const int32_t* columns, int64_t columns_out, const int32_t* rows,
                               int64_t rows_out, uint8_t* target, int64_t target_row_stride,
                               int64_t target_plane_stride) {
    std::vector<int32_t> words(width + 1);
    std::vector<uint8_t> stretched(6 * columns_out);  // source rows with even and with odd numbers
    int64_t next = rows[0];
    for (int64_t y = 0; y < rows_out; ++y) {
        const int64_t first = rows[y], second = first + 1 < height ? first + 1 : first;  // then with weight 0
        for (; next <= second; ++next)
            stretch_row(source + next * row_stride, pixel_stride, colour_stride, width, columns, columns + columns_out,
                        columns + 2 * columns_out, columns_out, words.data(),
                        stretched.data() + next % 2 * 3 * columns_out);
        for (int64_t plane = 0; plane < 3; ++plane)
            mix_rows(stretched.data() + (first % 2 * 3 + plane) * columns_out, rows[rows_out + y],
                     stretched.data() + (second % 2 * 3 + plane) * columns_out, rows[2 * rows_out + y], columns_out,
                     target + plane * target_plane_stride + y * target_row_stride);
    }
}
