// Which of many maps is the largest at every pixel: each map is read once, some of them side by side.

#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int64_t TILE = 4096;  // pixels whose maximum stays in the cache
constexpr int64_t STEP = 16;    // pixels that are looked at together

// ROWS maps from `index` on, `stride` numbers apart, against the best so far; `size` is a multiple of STEP. Returns
// whether one has a NaN.
template <int ROWS>
int32_t compare(const float* maps, int64_t stride, int32_t index, int64_t size, float* best, int32_t* first) {
    int32_t has_nan = 0;
    for (int64_t x = 0; x < size; x += STEP) {
        float largest[STEP];
        int32_t place[STEP], nan[STEP] = {0};
        for (int64_t i = 0; i < STEP; ++i) {
            largest[i] = best[x + i];
            place[i] = first[x + i];
        }
        for (int row = 0; row < ROWS; ++row) {
            const float* values = maps + row * stride + x;
            for (int64_t i = 0; i < STEP; ++i) {
                const float value = values[i];
                nan[i] |= value != value ? -1 : 0;
                place[i] = value > largest[i] ? index + row : place[i];
                largest[i] = value > largest[i] ? value : largest[i];
            }
        }
        for (int64_t i = 0; i < STEP; ++i) {
            best[x + i] = largest[i];
            first[x + i] = place[i];
            has_nan |= nan[i];
        }
    }
    return has_nan;
}

// The same for all maps of up to TILE pixels.
int32_t compare_all(const float* maps, int64_t count, int64_t stride, int64_t size, float* best, int32_t* first) {
    int32_t has_nan = 0, index = 0;
    for (; index + 4 <= count; index += 4)
        has_nan |= compare<4>(maps + index * stride, stride, index, size, best, first);
    for (; index < count; ++index) has_nan |= compare<1>(maps + index * stride, stride, index, size, best, first);
    return has_nan;
}

}  // namespace

// maps: (count, pixels), each map behind the one before. indices: (pixels,), the first of the largest ones.
// has_nan: 1 if a value is no number, and the indices then mean nothing; else 0.
extern "C" void index_of_largest(const float* maps, int64_t count, int64_t pixels, int32_t* indices, int64_t* has_nan) {
    float best[TILE];
    int32_t first[TILE], strange = 0;
    for (int64_t start = 0; start < pixels; start += TILE) {
        const int64_t size = pixels - start < TILE ? pixels - start : TILE, whole = size / STEP * STEP;
        for (int64_t x = 0; x < TILE; ++x) {
            best[x] = -__builtin_inff();
            first[x] = 0;
        }
        strange |= compare_all(maps + start, count, pixels, whole, best, first);
        if (whole < size) {  // the last pixels, copied to where a whole step can be read
            std::vector<float> rest(count * STEP, 0.0f);
            for (int64_t index = 0; index < count; ++index)
                std::memcpy(rest.data() + index * STEP, maps + index * pixels + start + whole, (size - whole) * sizeof(float));
            strange |= compare_all(rest.data(), count, STEP, STEP, best + whole, first + whole);
        }
        std::memcpy(indices + start, first, size * sizeof(int32_t));
    }
    *has_nan = strange;
}
