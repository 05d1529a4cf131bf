// The local context of focal modulation on the CPU, forward and backward, and the GELU of its MLPs.
//
// Compiled on first use by compiled_library.py, called by compiled_focal_context.py; needs no header of torch.
// A depthwise convolution mixes no channels, so a block of as many channels as fit a vector goes through all levels by
// itself. The levels advance together, each as many rows behind the one before as its kernel reaches down: rows wait
// for the next level in rings that stay in the cache. float32, float64, and bfloat16 that is computed in float32.
//
// Shapes: context (B, H, W, C) and gates (B, H, W, L) with any distance between positions, local and its gradient
// contiguous, kernels L times (C, k, k), saved (B, blocks, L, H, W, LANES): the sums before the GELU.

#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif
constexpr int COLUMNS = 8;  // neighbouring positions whose sums are in registers at once

template <typename T>
struct Native {
    static constexpr int LANES = VECTOR_BYTES / sizeof(T);
    typedef T V __attribute__((vector_size(VECTOR_BYTES)));
};
typedef Native<float>::V Floats;
typedef Native<double>::V Doubles;
typedef int32_t Integers __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t Words __attribute__((vector_size(VECTOR_BYTES)));
typedef uint16_t Halves __attribute__((vector_size(VECTOR_BYTES / 2)));

struct Bfloat16 {
    uint16_t bits;
};

// What is computed in, for what is stored.
template <typename S>
struct Computed {
    typedef S T;
};
template <>
struct Computed<Bfloat16> {
    typedef float T;
};
template <typename S>
using Vector = typename Native<typename Computed<S>::T>::V;

template <typename S>
inline Vector<S> load(const S* place) {
    Vector<S> v;
    std::memcpy(&v, place, sizeof(v));
    return v;
}

template <typename S>
inline void store(S* place, Vector<S> v) {
    std::memcpy(place, &v, sizeof(v));
}

template <>
inline Floats load<Bfloat16>(const Bfloat16* place) {
    Halves halves;
    std::memcpy(&halves, place, sizeof(halves));
    const Words words = __builtin_convertvector(halves, Words) << 16;
    return (Floats)words;
}

// To the nearest, ties to even; what is not a number stays none.
template <>
inline void store<Bfloat16>(Bfloat16* place, Floats v) {
    const Words bits = (Words)v, none = (Words)(v != v);
    const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const Halves halves = __builtin_convertvector((rounded & ~none) | (none & 0x7fc0), Halves);
    std::memcpy(place, &halves, sizeof(halves));
}

// The first `count` lanes, zeros in the others.
template <typename S>
inline Vector<S> load(const S* place, int64_t count) {
    if (count >= Native<typename Computed<S>::T>::LANES) return load(place);
    S some[Native<typename Computed<S>::T>::LANES] = {};
    std::memcpy(some, place, count * sizeof(S));
    return load(some);
}

template <typename S>
inline void store(S* place, Vector<S> v, int64_t count) {
    if (count >= Native<typename Computed<S>::T>::LANES) return store(place, v);
    S some[Native<typename Computed<S>::T>::LANES];
    store(some, v);
    std::memcpy(place, some, count * sizeof(S));
}

inline float number(float x) { return x; }
inline double number(double x) { return x; }
inline float number(Bfloat16 x) {
    const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

template <typename T, typename V>
inline T sum_of_lanes(V v) {
    T lanes[Native<T>::LANES];
    std::memcpy(lanes, &v, sizeof(lanes));
    for (int width = Native<T>::LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
    return lanes[0];
}

// Density and cumulation of the normal distribution. exp(-x^2 / 2) is 2^n 2^f with a polynomial for 2^f; the tail
// beyond |x| is that times a quotient of polynomials with positive terms, so that its relative error stays small.
inline void normal(Floats x, Floats& density, Floats& below) {
    Floats size = x < 0 ? -x : x;
    size = size < 13.0f ? size : Floats{} + 13.0f;
    const Floats power = size * size * -0.72134752f;
    const Floats shifted = power + 12582912.0f;  // 1.5 * 2^23: n is in the last bits
    const Floats f = power - (shifted - 12582912.0f);
    Floats bell = f * 1.53458066e-4f + 1.33999309e-3f;
    bell = bell * f + 9.61848907e-3f;
    bell = bell * f + 5.55032864e-2f;
    bell = bell * f + 0.240226462f;
    bell = bell * f + 0.693147182f;
    bell = bell * f + 1.0f;
    bell = (Floats)((Words)bell + ((Words)shifted << 23));
    Floats above = size * 4.07755794e-3f + 4.03722264e-2f;
    above = above * size + 0.182460889f;
    above = above * size + 0.43724969f;
    above = above * size + 0.5f;
    Floats under = size * 1.02207931e-2f + 0.101204976f;
    under = under * size + 0.467426598f;
    under = under * size + 1.19928694f;
    under = under * size + 1.67238438f;
    under = under * size + 1.0f;
    const Floats tail = bell * (above / under);
    density = bell * 0.398942280f;
    below = x < 0 ? tail : 1.0f - tail;
}

inline void normal(Doubles x, Doubles& density, Doubles& below) {
    for (int i = 0; i < Native<double>::LANES; i++) {
        density[i] = 0.39894228040143268 * __builtin_exp(-0.5 * x[i] * x[i]);
        below[i] = 0.5 * __builtin_erfc(-0.70710678118654752 * x[i]);
    }
}

template <typename V>
inline V gelu(V x) {
    V density, below;
    normal(x, density, below);
    return x * below;
}

// Rows of vectors with zeros on both sides; as many are kept as the next level looks back.
template <typename V>
class Ring {
public:
    Ring(int64_t width, int64_t border, int64_t depth) : depth(depth), border(border) {
        pitch = (width + COLUMNS - 1) / COLUMNS * COLUMNS + 2 * border;
        const size_t bytes = (depth + 1) * pitch * sizeof(V);
        memory.reset(new char[bytes + sizeof(V)]);
        start = reinterpret_cast<V*>((reinterpret_cast<uintptr_t>(memory.get()) / sizeof(V) + 1) * sizeof(V));
        std::memset(static_cast<void*>(start), 0, bytes);
    }

    // The first position of a row; `border` zeros are before it.
    V* row(int64_t y) { return start + y % depth * pitch + border; }

    // Where the windows begin that have row y in their middle; rows outside the map are zeros.
    void window(int64_t y, int64_t height, const V** rows) {
        for (int64_t line = y - border; line <= y + border; line++)
            *rows++ = start + (line < 0 || line >= height ? depth : line % depth) * pitch;
    }

private:
    int64_t depth, border, pitch;
    V* start;
    std::unique_ptr<char[]> memory;
};

// One row of a depthwise convolution, up to a multiple of COLUMNS.
template <typename V>
inline void convolve(const V* const* rows, const V* kernel, int64_t k, int64_t width, V* sums) {
    for (int64_t x = 0; x < width; x += COLUMNS) {
        V sum[COLUMNS] = {};
        for (int64_t i = 0; i < k; i++) {
            const V* row = rows[i] + x;
            for (int64_t j = 0; j < k; j++)
                for (int c = 0; c < COLUMNS; c++) sum[c] += kernel[i * k + j] * row[j + c];
        }
        for (int c = 0; c < COLUMNS; c++) sums[x + c] = sum[c];
    }
}

// Adds to TAPS neighbouring taps what one row gives to the kernel's gradient.
template <int TAPS, typename V>
inline void correlate_taps(const V* row, const V* grad, int64_t width, V* taps) {
    constexpr int AT_ONCE = TAPS < 4 ? 4 : TAPS < 6 ? 2 : 1;  // enough sums to hide the latency of an addition
    V sums[AT_ONCE][TAPS] = {};
    for (int64_t x = 0; x < width; x += AT_ONCE)
        for (int a = 0; a < AT_ONCE; a++)
            for (int t = 0; t < TAPS; t++) sums[a][t] += row[x + a + t] * grad[x + a];
    for (int a = 0; a < AT_ONCE; a++)
        for (int t = 0; t < TAPS; t++) taps[t] += sums[a][t];
}

template <typename V>
inline void correlate(const V* row, const V* grad, int64_t k, int64_t width, V* taps) {
    int64_t t = 0;
    for (; t + 13 <= k; t += 13) correlate_taps<13>(row + t, grad, width, taps + t);
    for (; t + 11 <= k; t += 11) correlate_taps<11>(row + t, grad, width, taps + t);
    for (; t + 9 <= k; t += 9) correlate_taps<9>(row + t, grad, width, taps + t);
    for (; t + 7 <= k; t += 7) correlate_taps<7>(row + t, grad, width, taps + t);
    for (; t + 5 <= k; t += 5) correlate_taps<5>(row + t, grad, width, taps + t);
    for (; t + 3 <= k; t += 3) correlate_taps<3>(row + t, grad, width, taps + t);
    for (; t < k; t++) correlate_taps<1>(row + t, grad, width, taps + t);
}

struct Sizes {
    int64_t batch, height, width, channels, levels, context_stride, gate_stride;
};

// Inputs and results; those that a pass does not need are null. T is what S is computed in.
template <typename S>
struct Tensors {
    typedef typename Computed<S>::T T;
    const S *context, *gates;
    const int64_t* kernel_sizes;
    const T* const* kernels;
    S* saved;
    S* local;        // forward: the result, backward: its gradient
    T* pooled;       // (B, C): sum over all positions, and backward the gradient of this sum
    S* context_grad;
    T* gate_grad;    // (blocks, B, H, W, L), to be summed over the blocks
    T* const* kernel_grads;
};

// A block of channels on its way through the levels; level 0 is the input.
template <typename S>
class Levels {
    typedef typename Computed<S>::T T;
    typedef typename Native<T>::V V;
    static constexpr int LANES = Native<T>::LANES;

public:
    Levels(const Sizes& s, const Tensors<S>& t, int64_t block)
        : s(s), t(t), block(block), count(s.channels - block * LANES < LANES ? s.channels - block * LANES : LANES),
          sums(s.width, 0, 1) {}

    void forward() {
        take_kernels(false);
        std::vector<int64_t> lags(1, 0);  // rows that a level is behind level 0
        for (int64_t level = 1; level <= s.levels; level++) lags.push_back(lags.back() + reach(level));
        const int64_t behind = lags.back();
        for (int64_t level = 0; level <= s.levels; level++) {
            const int64_t looked_back = level < s.levels ? size(level + 1) : 1, gated = behind - lags[level] + 1;
            contexts.emplace_back(s.width, reach(level + 1), looked_back > gated ? looked_back : gated);
        }
        for (image = 0; image < s.batch; image++) {
            pool = V{};
            for (int64_t step = 0; step < s.height + behind; step++)
                for (int64_t level = 0; level <= s.levels; level++) {
                    const int64_t y = step - lags[level];
                    if (y >= 0 && y < s.height) forward_row(level, y);
                }
            store(t.pooled + image * s.channels + block * LANES, pool, count);
        }
    }

    void backward() {
        take_kernels(true);
        for (int64_t level = 0; level <= s.levels; level++) {
            contexts.emplace_back(s.width, reach(level + 1), level < s.levels ? size(level + 1) : 1);
            grads.emplace_back(s.width, reach(level), level ? size(level) : 1);
            tap_grads.emplace_back(level ? size(level) * size(level) : 0, 0, 1);
        }
        for (image = 0; image < s.batch; image++) {
            pool = load(t.pooled + image * s.channels + block * LANES, count);
            int64_t behind = 0;
            for (int64_t level = 1; level <= s.levels; level++) behind += 2 * reach(level);
            for (int64_t step = 0; step < s.height + behind; step++) {
                int64_t y = step;
                for (int64_t level = s.levels; level >= 0; level--, y -= reach(level + 1)) {
                    if (y >= 0 && y < s.height) backward_row(level, y);
                    const int64_t middle = y - reach(level + 1);  // both neighbours' rows around it are there
                    if (level < s.levels && middle >= 0 && middle < s.height) kernel_row(level + 1, middle);
                }
            }
        }
        give_kernel_grads();
    }

private:
    int64_t size(int64_t level) const { return t.kernel_sizes[level - 1]; }
    int64_t reach(int64_t level) const { return level >= 1 && level <= s.levels ? size(level) / 2 : 0; }
    int64_t position(int64_t y) const { return (image * s.height + y) * s.width; }

    S* saved_row(int64_t level, int64_t y) const {
        const int64_t blocks = (s.channels + LANES - 1) / LANES;
        const int64_t map = (image * blocks + block) * s.levels + level - 1;
        return t.saved + (map * s.height + y) * s.width * LANES;
    }

    void take_kernels(bool turned) {
        for (int64_t level = 1; level <= s.levels; level++) {
            const int64_t area = size(level) * size(level);
            taps.emplace_back(area, 0, 1);
            if (size(level) > static_cast<int64_t>(window.size())) window.resize(size(level));
            for (int64_t lane = 0; lane < count; lane++) {
                const T* kernel = t.kernels[level - 1] + (block * LANES + lane) * area;
                for (int64_t i = 0; i < area; i++) taps.back().row(0)[i][lane] = kernel[turned ? area - 1 - i : i];
            }
        }
    }

    void give_kernel_grads() {
        for (int64_t level = 1; level <= s.levels; level++) {
            const int64_t area = size(level) * size(level);
            for (int64_t lane = 0; lane < count; lane++) {
                T* kernel = t.kernel_grads[level - 1] + (block * LANES + lane) * area;
                for (int64_t i = 0; i < area; i++) kernel[i] = tap_grads[level].row(0)[i][lane];
            }
        }
    }

    void load_context(int64_t y) {
        const S* place = t.context + position(y) * s.context_stride + block * LANES;
        V* row = contexts[0].row(y);
        for (int64_t x = 0; x < s.width; x++) row[x] = load(place + x * s.context_stride, count);
    }

    // Depthwise convolution of a ring's rows around y, to `sums`.
    void convolve_row(Ring<V>& ring, int64_t level, int64_t y) {
        ring.window(y, s.height, window.data());
        convolve(window.data(), taps[level - 1].row(0), size(level), s.width, sums.row(0));
    }

    void forward_row(int64_t level, int64_t y) {
        if (level == 0) return load_context(y);
        convolve_row(contexts[level - 1], level, y);
        const V* sum = sums.row(0);
        if (t.saved) {
            S* place = saved_row(level, y);
            for (int64_t x = 0; x < s.width; x++) store(place + x * LANES, sum[x]);
        }
        V* row = contexts[level].row(y);
        for (int64_t x = 0; x < s.width; x++) row[x] = gelu(sum[x]);
        if (level == s.levels) gate_row(y);
    }

    void gate_row(int64_t y) {
        V* total = sums.row(0);
        V pooled = {};
        for (int64_t level = 1; level <= s.levels; level++) {
            const V* row = contexts[level].row(y);
            const S* gate = t.gates + position(y) * s.gate_stride + level - 1;
            for (int64_t x = 0; x < s.width; x++) {
                const V product = row[x] * number(gate[x * s.gate_stride]);
                total[x] = level == 1 ? product : total[x] + product;
                if (level == s.levels) pooled += row[x];
            }
        }
        pool += pooled;
        S* place = t.local + position(y) * s.channels + block * LANES;
        for (int64_t x = 0; x < s.width; x++) store(place + x * s.channels, total[x], count);
    }

    // Gradient of one row of a level's context and, but for level 0, of the sums before its GELU.
    void backward_row(int64_t level, int64_t y) {
        V* above = sums.row(0);  // what comes from the level above
        if (level < s.levels)
            convolve_row(grads[level + 1], level + 1, y);
        else
            for (int64_t x = 0; x < s.width; x++) above[x] = pool;
        if (level == 0) {
            load_context(y);
            S* place = t.context_grad + position(y) * s.channels + block * LANES;
            for (int64_t x = 0; x < s.width; x++) store(place + x * s.channels, above[x], count);
            return;
        }
        const S *gate = t.gates + position(y) * s.gate_stride + level - 1, *before = saved_row(level, y);
        const S* local_grad = t.local + position(y) * s.channels + block * LANES;
        T* gate_grad = t.gate_grad + (block * s.batch * s.height * s.width + position(y)) * s.levels + level - 1;
        V *context = contexts[level].row(y), *grad = grads[level].row(y);
        for (int64_t x = 0; x < s.width; x++) {
            const V sum = load(before + x * LANES), upstream = load(local_grad + x * s.channels, count);
            V density, below;
            normal(sum, density, below);
            context[x] = sum * below;
            gate_grad[x * s.levels] = sum_of_lanes<T>(upstream * context[x]);
            grad[x] = (above[x] + upstream * number(gate[x * s.gate_stride])) * (below + sum * density);
        }
    }

    // What one row of the sums' gradient gives to the gradient of the kernel.
    void kernel_row(int64_t level, int64_t y) {
        contexts[level - 1].window(y, s.height, window.data());
        for (int64_t i = 0; i < size(level); i++)
            correlate(window[i], grads[level].row(y), size(level), s.width, tap_grads[level].row(0) + i * size(level));
    }

    const Sizes& s;
    const Tensors<S>& t;
    int64_t image, block, count;
    V pool;
    Ring<V> sums;
    std::vector<Ring<V>> taps, contexts, grads, tap_grads;
    std::vector<const V*> window;
};

template <typename S>
void forward(const Sizes* s, const Tensors<S>* t, int64_t first_block, int64_t last_block) {
    for (int64_t block = first_block; block < last_block; block++) Levels<S>(*s, *t, block).forward();
}

template <typename S>
void backward(const Sizes* s, const Tensors<S>* t, int64_t first_block, int64_t last_block) {
    for (int64_t block = first_block; block < last_block; block++) Levels<S>(*s, *t, block).backward();
}

template <typename S>
void gelu_forward(const S* x, int64_t first, int64_t last, S* result) {
    constexpr int LANES = Native<typename Computed<S>::T>::LANES;
    for (int64_t i = first; i < last; i += LANES) store(result + i, gelu(load(x + i, last - i)), last - i);
}

template <typename S>
void gelu_backward(const S* x, const S* grad, int64_t first, int64_t last, S* result, S* x_grad) {
    constexpr int LANES = Native<typename Computed<S>::T>::LANES;
    for (int64_t i = first; i < last; i += LANES) {
        const Vector<S> sum = load(x + i, last - i);
        Vector<S> density, below;
        normal(sum, density, below);
        store(result + i, sum * below, last - i);
        store(x_grad + i, load(grad + i, last - i) * (below + sum * density), last - i);
    }
}

}  // namespace

#define EXPORT(NAME, S)                                                                                         \
    int64_t lanes_##NAME() { return Native<Computed<S>::T>::LANES; }                                            \
    void forward_##NAME(const Sizes* s, const Tensors<S>* t, int64_t first, int64_t last) {                     \
        forward<S>(s, t, first, last);                                                                          \
    }                                                                                                           \
    void backward_##NAME(const Sizes* s, const Tensors<S>* t, int64_t first, int64_t last) {                    \
        backward<S>(s, t, first, last);                                                                         \
    }                                                                                                           \
    void gelu_forward_##NAME(const S* x, int64_t first, int64_t last, S* result) {                              \
        gelu_forward<S>(x, first, last, result);                                                                \
    }                                                                                                           \
    void gelu_backward_##NAME(const S* x, const S* grad, int64_t first, int64_t last, S* result, S* x_grad) {   \
        gelu_backward<S>(x, grad, first, last, result, x_grad);                                                 \
    }

extern "C" {
EXPORT(float, float)
EXPORT(double, double)
EXPORT(bfloat16, Bfloat16)
}
