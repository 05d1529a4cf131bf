// Multi-scale deformable attention on the CPU, forward and backward, for float and double.
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

inline float round_down(float x) { return __builtin_floorf(x); }
inline double round_down(double x) { return __builtin_floor(x); }

// Zero for what is not a number, so that the conversion to an integer is defined.
template <typename T>
inline int32_t nearest_index(T x, T last) {
    return static_cast<int32_t>(x > 0 ? (x < last ? x : last) : T(0));
}

struct Sizes {
    int64_t tokens, queries, heads, channels, points;
};

// The four texels around each of up to CHUNK points: left above, right above, left below, right below.
template <typename T>
struct Corners {
    int32_t row[4][CHUNK];
    T left[CHUNK], right[CHUNK], above[CHUNK], below[CHUNK];  // shares, 0 outside the map
    T has_left[CHUNK], has_right[CHUNK], has_above[CHUNK], has_below[CHUNK];  // 1 inside the map, 0 outside
    T weight[4][CHUNK];

    // Products with 0 and 1 in place of branches: vectorised, and a location that is not a number stays one.
    void find(const T* locations, const T* weights, const int32_t* geometry, int64_t points, int count) {
        const int32_t *widths = geometry, *heights = geometry + points, *starts = geometry + 2 * points;
        for (int k = 0; k < count; k++) {
            const T width = static_cast<T>(widths[k]), height = static_cast<T>(heights[k]);
            const T x = locations[2 * k] * width - T(0.5), y = locations[2 * k + 1] * height - T(0.5);
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

// Adds the weighted texels of LANES * VECTORS channels to the output.
template <typename T, int LANES, int VECTORS>
inline void sum_block(const Corners<T>& corners, int count, const T* value, int64_t stride, T* output) {
    typename Vector<T, LANES>::type sums[VECTORS];
    for (int v = 0; v < VECTORS; v++) sums[v] = at<T, LANES>(output + v * LANES);
    for (int k = 0; k < count; k++) {
        for (int j = 0; j < 4; j++) {
            const T* texel = value + corners.row[j][k] * stride;
            for (int v = 0; v < VECTORS; v++) sums[v] += corners.weight[j][k] * at<T, LANES>(texel + v * LANES);
        }
    }
    for (int v = 0; v < VECTORS; v++) at<T, LANES>(output + v * LANES) = sums[v];
}

template <typename T>
struct Forward {
    const Corners<T>& corners;
    int count;
    const T* value;
    int64_t stride;
    T* output;

    template <int LANES, int VECTORS>
    void block(int64_t channel) const {
        sum_block<T, LANES, VECTORS>(corners, count, value + channel, stride, output + channel);
    }

    void single(int64_t channel) const {
        for (int k = 0; k < count; k++)
            for (int j = 0; j < 4; j++)
                output[channel] += corners.weight[j][k] * value[corners.row[j][k] * stride + channel];
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

template <typename T>
struct Backward {
    const Corners<T>& corners;
    int count;
    const T* value;
    int64_t stride;
    const T* grad;  // of the output
    T* value_grad;
    T (*dots)[CHUNK][4];  // four parts of the product of grad and each corner's texel

    template <int LANES, int VECTORS>
    void block(int64_t channel) const {
        typedef typename Vector<T, LANES>::type V;
        V upstream[VECTORS];
        for (int v = 0; v < VECTORS; v++) upstream[v] = at<T, LANES>(grad + channel + v * LANES);
        for (int k = 0; k < count; k++) {
            for (int j = 0; j < 4; j++) {
                const int64_t place = corners.row[j][k] * stride + channel;
                V products = upstream[0] * at<T, LANES>(value + place);
                for (int v = 1; v < VECTORS; v++) products += upstream[v] * at<T, LANES>(value + place + v * LANES);
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
                dots[j][k][0] += grad[channel] * value[place];
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

template <typename T>
void forward(const Sizes& s, const T* value, const int32_t* geometry, const T* locations, const T* weights,
             int64_t first, int64_t last, T* output) {
    Corners<T> corners;
    const int64_t stride = s.heads * s.channels;
    for (int64_t query = first; query < last; query++) {
        const T* image = value + query / s.queries * s.tokens * stride;
        for (int64_t head = 0; head < s.heads; head++) {
            const int64_t row = query * s.heads + head;
            std::memset(output + row * s.channels, 0, s.channels * sizeof(T));
            for (int64_t k = 0; k < s.points; k += CHUNK) {
                const int count = static_cast<int>(s.points - k < CHUNK ? s.points - k : CHUNK);
                const int64_t point = row * s.points + k;
                corners.find(locations + 2 * point, weights + point, geometry + k, s.points, count);
                const Forward<T> step{corners, count, image + head * s.channels, stride, output + row * s.channels};
                over_channels<T>(s.channels, step);
            }
        }
    }
}

// One image and some of its heads: two calls never write to the same place, and the sums do not depend on the split.
template <typename T>
void backward(const Sizes& s, const T* value, const int32_t* geometry, const T* locations, const T* weights,
              const T* grad, int64_t image, int64_t first_head, int64_t last_head, T* value_grad, T* location_grad,
              T* weight_grad) {
    Corners<T> corners;
    T dots[4][CHUNK][4];
    const int64_t stride = s.heads * s.channels, start = image * s.tokens * stride;
    for (int64_t query = image * s.queries; query < (image + 1) * s.queries; query++) {
        for (int64_t head = first_head; head < last_head; head++) {
            const int64_t row = query * s.heads + head, shift = start + head * s.channels;
            for (int64_t k = 0; k < s.points; k += CHUNK) {
                const int count = static_cast<int>(s.points - k < CHUNK ? s.points - k : CHUNK);
                const int64_t point = row * s.points + k;
                corners.find(locations + 2 * point, weights + point, geometry + k, s.points, count);
                for (int j = 0; j < 4; j++) std::memset(dots[j], 0, count * sizeof(dots[j][0]));
                const Backward<T> step{corners, count, value + shift, stride, grad + row * s.channels,
                                       value_grad + shift, dots};
                over_channels<T>(s.channels, step);
                step.finish(weights + point, geometry + k, s.points, location_grad + 2 * point, weight_grad + point);
            }
        }
    }
}

}  // namespace

#define EXPORT(T)                                                                                                   \
    void forward_##T(const Sizes* s, const T* value, const int32_t* geometry, const T* locations, const T* weights, \
                     int64_t first, int64_t last, T* output) {                                                      \
        forward<T>(*s, value, geometry, locations, weights, first, last, output);                                   \
    }                                                                                                               \
    void backward_##T(const Sizes* s, const T* value, const int32_t* geometry, const T* locations,                  \
                      const T* weights, const T* grad, int64_t image, int64_t first_head, int64_t last_head,        \
                      T* value_grad, T* location_grad, T* weight_grad) {                                            \
        backward<T>(*s, value, geometry, locations, weights, grad, image, first_head, last_head, value_grad,        \
                    location_grad, weight_grad);                                                                    \
    }

extern "C" {
EXPORT(float)
EXPORT(double)
}
