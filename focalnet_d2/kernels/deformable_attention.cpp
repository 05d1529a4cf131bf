// Multi-scale deformable attention on the CPU, forward and backward, for float and double; values may be bfloat16, read
// as they are, with all else in float.
//
// Compiled on first use by compiled_library.py, called by compiled_deformable_attention.py; needs no header of torch.
// Queries are the outer loop: neighbouring queries read neighbouring texels, which are then still in the cache.
//
// Shapes, all contiguous: value (B, N, M, D), locations (B, Q, M, K, 2), weights (B, Q, M, K), output (B, Q, M, D),
// geometry (3, K): width, height and first token of the level of each of the K = levels x points points.

#include <cstdint>
#include <cstring>

namespace {

constexpr int CHUNK = 32;  // points whose rows and shares are held at once
constexpr int64_t FAR_BYTES = 1 << 24;  // of an image's values, which then lie too far away to wait for
constexpr int64_t LINE_BYTES = 64;  // of the processor's cache
#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif

template <typename T, int LANES>
struct Vector {
    typedef T type __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
};

template <typename T, int LANES>
inline typename Vector<T, LANES>::type& at(T* place) {
    return *reinterpret_cast<typename Vector<T, LANES>::type*>(place);
}

template <typename T, int LANES>
inline const typename Vector<T, LANES>::type& at(const T* place) {
    return *reinterpret_cast<const typename Vector<T, LANES>::type*>(place);
}

struct BFloat16 {
    uint16_t bits;  // the upper half of a float's
};

// The value of a texel's channels, in the type of the sums.
template <typename T, int LANES>
inline typename Vector<T, LANES>::type read(const T* place) {
    return at<T, LANES>(place);
}

template <typename T, int LANES>
inline typename Vector<T, LANES>::type read(const BFloat16* place) {
    uint32_t bits[LANES];
    for (int i = 0; i < LANES; i++) bits[i] = static_cast<uint32_t>(place[i].bits) << 16;
    typename Vector<T, LANES>::type numbers;
    std::memcpy(&numbers, bits, sizeof(numbers));
    return numbers;
}

template <typename T>
inline T read_one(const T* place) { return *place; }

template <typename T>
inline T read_one(const BFloat16* place) { return read<T, 1>(place)[0]; }

inline float round_down(float x) { return __builtin_floorf(x); }
inline double round_down(double x) { return __builtin_floor(x); }

// Zero for what is not a number, so that the conversion to an integer is defined.
template <typename T>
inline int32_t nearest_index(T x, T last) {
    return static_cast<int32_t>(x > 0 ? (x < last ? x : last) : T(0));
}

struct Sizes {
    int64_t tokens, queries, heads, channels, points;
    int64_t fused;  // whether grid_sample rounds a coordinate once (a fused multiply-add) or the product, too
};

// Always one rounding, whatever the compiler makes of products and sums elsewhere.
inline float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double multiply_add(double a, double b, double c) { return __builtin_fma(a, b, c); }

// A location between 0 and 1 in texels, with every rounding of grid_sample(2 * location - 1): at the centre of a texel
// they decide which neighbours it is between. `subtracted` is (0.5, 0) to round once and (0, 0.5) to round twice.
template <typename T>
inline T texels(T location, T size, const T* subtracted) {
    return multiply_add((location - T(0.5)) + T(0.5), size, -subtracted[0]) - subtracted[1];
}

// The four texels around each of up to CHUNK points: left above, right above, left below, right below.
template <typename T>
struct Corners {
    int32_t row[4][CHUNK];
    T left[CHUNK], right[CHUNK], above[CHUNK], below[CHUNK];  // shares, 0 outside the map
    T has_left[CHUNK], has_right[CHUNK], has_above[CHUNK], has_below[CHUNK];  // 1 inside the map, 0 outside
    T weight[4][CHUNK];

    // Products with 0 and 1 in place of branches: vectorised, and a location that is not a number stays one.
    void find(const T* locations, const T* weights, const int32_t* geometry, const Sizes& s, int count) {
        const int32_t *widths = geometry, *heights = geometry + s.points, *starts = geometry + 2 * s.points;
        const T subtracted[2] = {s.fused ? T(0.5) : T(0), s.fused ? T(0) : T(0.5)};
        for (int k = 0; k < count; k++) {
            const T width = static_cast<T>(widths[k]), height = static_cast<T>(heights[k]);
            const T x = texels(locations[2 * k], width, subtracted);
            const T y = texels(locations[2 * k + 1], height, subtracted);
            const T column = round_down(x), line = round_down(y);
            has_left[k] = ((column >= 0) & (column < width)) ? T(1) : T(0);
            has_right[k] = ((column >= -1) & (column < width - 1)) ? T(1) : T(0);
            has_above[k] = ((line >= 0) & (line < height)) ? T(1) : T(0);
            has_below[k] = ((line >= -1) & (line < height - 1)) ? T(1) : T(0);
            left[k] = (column + 1 - x) * has_left[k];
            right[k] = (x - column) * has_right[k];
            above[k] = (line + 1 - y) * has_above[k];
            below[k] = (y - line) * has_below[k];
            const int32_t x0 = nearest_index(column, width - 1), x1 = nearest_index(column + 1, width - 1);
            const int32_t y0 = starts[k] + nearest_index(line, height - 1) * widths[k];
            const int32_t y1 = starts[k] + nearest_index(line + 1, height - 1) * widths[k];
            row[0][k] = y0 + x0, row[1][k] = y0 + x1, row[2][k] = y1 + x0, row[3][k] = y1 + x1;
            weight[0][k] = left[k] * above[k] * weights[k], weight[1][k] = right[k] * above[k] * weights[k];
            weight[2][k] = left[k] * below[k] * weights[k], weight[3][k] = right[k] * below[k] * weights[k];
        }
    }
};

// Adds the weighted texels to the output; V is the type of the values.
template <typename T, typename V>
struct Forward {
    const Corners<T>& corners;
    int count;
    const V* value;
    int64_t stride;
    T* output;

    template <int LANES, int VECTORS>
    void block(int64_t channel) const {
        typename Vector<T, LANES>::type sums[VECTORS];
        for (int v = 0; v < VECTORS; v++) sums[v] = at<T, LANES>(output + channel + v * LANES);
        for (int k = 0; k < count; k++) {
            for (int j = 0; j < 4; j++) {
                const V* texel = value + corners.row[j][k] * stride + channel;
                for (int v = 0; v < VECTORS; v++) sums[v] += corners.weight[j][k] * read<T, LANES>(texel + v * LANES);
            }
        }
        for (int v = 0; v < VECTORS; v++) at<T, LANES>(output + channel + v * LANES) = sums[v];
    }

    void single(int64_t channel) const {
        for (int k = 0; k < count; k++)
            for (int j = 0; j < 4; j++)
                output[channel] += corners.weight[j][k] * read_one<T>(value + corners.row[j][k] * stride + channel);
    }
};

// A vector added up to four lanes, which are added to what is there.
template <typename T, int LANES>
struct Fold {
    static inline void add(typename Vector<T, LANES>::type products, T* four) {
        typename Vector<T, LANES / 2>::type halves[2];
        std::memcpy(halves, &products, sizeof(halves));
        Fold<T, LANES / 2>::add(halves[0] + halves[1], four);
    }
};

template <typename T>
struct Fold<T, 4> {
    static inline void add(typename Vector<T, 4>::type products, T* four) { at<T, 4>(four) += products; }
};

template <typename T, typename V>
struct Backward {
    const Corners<T>& corners;
    int count;
    const V* value;
    int64_t stride;
    const T* grad;  // of the output
    T* value_grad;
    T (*dots)[CHUNK][4];  // four parts of the product of grad and each corner's texel

    template <int LANES, int VECTORS>
    void block(int64_t channel) const {
        typename Vector<T, LANES>::type upstream[VECTORS];
        for (int v = 0; v < VECTORS; v++) upstream[v] = at<T, LANES>(grad + channel + v * LANES);
        for (int k = 0; k < count; k++) {
            for (int j = 0; j < 4; j++) {
                const int64_t place = corners.row[j][k] * stride + channel;
                auto products = upstream[0] * read<T, LANES>(value + place);
                for (int v = 1; v < VECTORS; v++) products += upstream[v] * read<T, LANES>(value + place + v * LANES);
                for (int v = 0; v < VECTORS; v++)
                    at<T, LANES>(value_grad + place + v * LANES) += corners.weight[j][k] * upstream[v];
                Fold<T, LANES>::add(products, dots[j][k]);
            }
        }
    }

    void single(int64_t channel) const {
        for (int k = 0; k < count; k++) {
            for (int j = 0; j < 4; j++) {
                const int64_t place = corners.row[j][k] * stride + channel;
                dots[j][k][0] += grad[channel] * read_one<T>(value + place);
                value_grad[place] += corners.weight[j][k] * grad[channel];
            }
        }
    }

    // Gradients of the locations and weights of these points.
    void finish(const T* weights, const int32_t* geometry, int64_t points, T* location_grad, T* weight_grad) const {
        const Corners<T>& c = corners;
        T dot[4][CHUNK];
        for (int j = 0; j < 4; j++)
            for (int k = 0; k < count; k++)
                dot[j][k] = (dots[j][k][0] + dots[j][k][1]) + (dots[j][k][2] + dots[j][k][3]);
        for (int k = 0; k < count; k++) {
            const T top = c.left[k] * dot[0][k] + c.right[k] * dot[1][k];
            const T bottom = c.left[k] * dot[2][k] + c.right[k] * dot[3][k];
            const T slope_above = c.has_right[k] * dot[1][k] - c.has_left[k] * dot[0][k];
            const T slope_below = c.has_right[k] * dot[3][k] - c.has_left[k] * dot[2][k];
            const T slope_x = c.above[k] * slope_above + c.below[k] * slope_below;
            const T slope_y = c.has_below[k] * bottom - c.has_above[k] * top;
            weight_grad[k] = c.above[k] * top + c.below[k] * bottom;
            location_grad[2 * k] = weights[k] * static_cast<T>(geometry[k]) * slope_x;
            location_grad[2 * k + 1] = weights[k] * static_cast<T>(geometry[points + k]) * slope_y;
        }
    }
};

// All channels, in the widest blocks that fit.
template <typename T, typename Step>
inline void over_channels(int64_t channels, const Step& step) {
    constexpr int LANES = VECTOR_BYTES / sizeof(T);
    int64_t c = 0;
    for (; c + 4 * LANES <= channels; c += 4 * LANES) step.template block<LANES, 4>(c);
    for (; c + 2 * LANES <= channels; c += 2 * LANES) step.template block<LANES, 2>(c);
    if (LANES >= 16)
        for (; c + 16 <= channels; c += 16) step.template block<16, 1>(c);
    if (LANES >= 8)
        for (; c + 8 <= channels; c += 8) step.template block<8, 1>(c);
    for (; c + 4 <= channels; c += 4) step.template block<4, 1>(c);
    for (; c < channels; c++) step.single(c);
}

// Some points of one head of one query: where the head's first texel is, the row of (B, Q, M), the first of the points.
struct Place {
    int64_t texels, row, first;
    int count;
};

// Calls work(corners, place) for all points of some queries (of all images, one after the other) and heads. Texels lie
// anywhere in memory: those of the next call, which `written` has too unless it is null, are asked for before the work
// on this one's. (Here and not in a function of its own: gcc takes that for one without effect.)
template <typename T, typename V, typename Work>
void over_points(const Sizes& s, const V* value, const T* written, const int32_t* geometry, const T* locations,
                 const T* weights, int64_t first_query, int64_t last_query, int64_t first_head, int64_t last_head,
                 const Work& work) {
    const int64_t stride = s.heads * s.channels, chunks = (s.points + CHUNK - 1) / CHUNK;
    const int64_t heads = last_head - first_head, steps = (last_query - first_query) * heads * chunks;
    const bool far = s.tokens * stride * static_cast<int64_t>(sizeof(T)) > FAR_BYTES;
    Corners<T> corners[2];
    Place places[2];
    for (int64_t step = 0; step <= steps; step++) {
        if (step < steps) {
            Corners<T>& next = corners[step % 2];
            Place& place = places[step % 2];
            const int64_t query = first_query + step / chunks / heads, head = first_head + step / chunks % heads;
            place.texels = query / s.queries * s.tokens * stride + head * s.channels;
            place.row = query * s.heads + head;
            place.first = step % chunks * CHUNK;
            place.count = static_cast<int>(s.points - place.first < CHUNK ? s.points - place.first : CHUNK);
            const int64_t point = place.row * s.points + place.first;
            next.find(locations + 2 * point, weights + point, geometry + place.first, s, place.count);
            for (int k = 0; far && k < place.count; k++)
                for (int j = 0; j < 4; j++)
                    for (int64_t c = 0; c < s.channels; c += LINE_BYTES / sizeof(T)) {
                        const int64_t texel = place.texels + next.row[j][k] * stride + c;
                        __builtin_prefetch(value + texel);
                        if (written) __builtin_prefetch(written + texel, 1);
                    }
        }
        if (step > 0) work(corners[(step - 1) % 2], places[(step - 1) % 2]);
    }
}

template <typename T, typename V>
void forward(const Sizes& s, const V* value, const int32_t* geometry, const T* locations, const T* weights,
             int64_t first, int64_t last, T* output) {
    std::memset(output + first * s.heads * s.channels, 0, (last - first) * s.heads * s.channels * sizeof(T));
    const auto work = [&](const Corners<T>& corners, const Place& at) {
        const Forward<T, V> step{corners, at.count, value + at.texels, s.heads * s.channels,
                                 output + at.row * s.channels};
        over_channels<T>(s.channels, step);
    };
    const T* written = nullptr;
    over_points(s, value, written, geometry, locations, weights, first, last, 0, s.heads, work);
}

// One image and some of its heads: two calls never write to the same place, and the sums do not depend on the split.
template <typename T, typename V>
void backward(const Sizes& s, const V* value, const int32_t* geometry, const T* locations, const T* weights,
              const T* grad, int64_t image, int64_t first_head, int64_t last_head, T* value_grad, T* location_grad,
              T* weight_grad) {
    T dots[4][CHUNK][4];
    const auto work = [&](const Corners<T>& corners, const Place& at) {
        const int64_t point = at.row * s.points + at.first;
        for (int j = 0; j < 4; j++) std::memset(dots[j], 0, at.count * sizeof(dots[j][0]));
        const Backward<T, V> step{corners, at.count, value + at.texels, s.heads * s.channels,
                                  grad + at.row * s.channels, value_grad + at.texels, dots};
        over_channels<T>(s.channels, step);
        step.finish(weights + point, geometry + at.first, s.points, location_grad + 2 * point, weight_grad + point);
    };
    const T* written = value_grad;
    over_points(s, value, written, geometry, locations, weights, image * s.queries, (image + 1) * s.queries,
                first_head, last_head, work);
}

}  // namespace

#define EXPORT(NAME, T, V)                                                                                      \
    void forward_##NAME(const Sizes* s, const V* value, const int32_t* geometry, const T* locations,            \
                        const T* weights, int64_t first, int64_t last, T* output) {                             \
        forward<T, V>(*s, value, geometry, locations, weights, first, last, output);                            \
    }                                                                                                           \
    void backward_##NAME(const Sizes* s, const V* value, const int32_t* geometry, const T* locations,           \
                         const T* weights, const T* grad, int64_t image, int64_t first_head, int64_t last_head, \
                         T* value_grad, T* location_grad, T* weight_grad) {                                     \
        backward<T, V>(*s, value, geometry, locations, weights, grad, image, first_head, last_head, value_grad, \
                       location_grad, weight_grad);                                                             \
    }

extern "C" {
EXPORT(float32, float, float)
EXPORT(float64, double, double)
EXPORT(bfloat16, float, BFloat16)
}
