// Pixels of every pair of segments in two maps of segment ids, stretch after stretch of equal pairs.

#include <cstdint>
#include <cstring>

namespace {

constexpr int64_t STEP = 32;  // pixels that are looked at together

// Places of ids in a sorted list: 0 for void, 1 + index for a listed one, 1 + count for any other. What was asked lately
// is remembered: a search takes jumps that no processor foresees.
template <typename Id>
class Slots {
public:
    Slots(const int64_t* ids, int64_t count) : ids(ids), count(count) {
        std::memset(known, 0, sizeof known);  // void is at 0
        std::memset(places, 0, sizeof places);
    }

    int64_t operator()(Id id) {
        const uint32_t at = (static_cast<uint32_t>(id) * 2654435761u) >> 24;
        if (known[at] != id) {
            known[at] = id;
            places[at] = id == 0 ? 0 : search(id);
        }
        return places[at];
    }

private:
    int64_t search(Id id) const {
        int64_t low = 0, high = count;
        while (low < high) {
            const int64_t middle = (low + high) / 2;
            if (ids[middle] < id) low = middle + 1; else high = middle;
        }
        return 1 + (low < count && ids[low] == id ? low : count);
    }

    const int64_t* ids;
    const int64_t count;
    Id known[256];
    int64_t places[256];
};

// How many of STEP pixels come before the first that is not of the pair; STEP if all are.
template <typename Id>
inline int64_t equal_ones(const Id* a, const Id* b, Id first, Id second) {
    Id differs = 0;
    for (int64_t i = 0; i < STEP; ++i) differs |= (a[i] ^ first) | (b[i] ^ second);
    if (!differs) return STEP;
    uint32_t others = 0;
    for (int64_t i = 0; i < STEP; ++i)
        others |= static_cast<uint32_t>(((a[i] ^ first) | (b[i] ^ second)) != 0) << i;
    return __builtin_ctz(others);
}

// Pixels from `at` on that have one pair, the first one's.
template <typename Id>
inline int64_t run(const Id* a, const Id* b, int64_t at, int64_t pixels) {
    const Id first = a[at], second = b[at];
    int64_t end = at + 1;
    while (end + STEP <= pixels) {
        const int64_t equal = equal_ones(a + end, b + end, first, second);
        end += equal;
        if (equal < STEP) return end - at;
    }
    while (end < pixels && a[end] == first && b[end] == second) ++end;
    return end - at;
}

template <typename Id>
void count(const Id* truth, const Id* predicted, int64_t pixels, const int64_t* true_ids, int64_t true_count,
           const int64_t* predicted_ids, int64_t predicted_count, int64_t* counts) {
    Slots<Id> rows(true_ids, true_count), columns(predicted_ids, predicted_count);
    for (int64_t at = 0, length; at < pixels; at += length) {
        length = run(truth, predicted, at, pixels);
        counts[rows(truth[at]) * (predicted_count + 2) + columns(predicted[at])] += length;
    }
}

}  // namespace

// truth, predicted: (pixels,) ids. true_ids, predicted_ids: ascending, above 0. counts: zeros of shape
// (true_count + 2, predicted_count + 2), which become the pixels of every pair of `Slots`.
extern "C" void count_pairs_of_4_bytes(const int32_t* truth, const int32_t* predicted, int64_t pixels,
                                       const int64_t* true_ids, int64_t true_count, const int64_t* predicted_ids,
                                       int64_t predicted_count, int64_t* counts) {
    count(truth, predicted, pixels, true_ids, true_count, predicted_ids, predicted_count, counts);
}

extern "C" void count_pairs_of_8_bytes(const int64_t* truth, const int64_t* predicted, int64_t pixels,
                                       const int64_t* true_ids, int64_t true_count, const int64_t* predicted_ids,
                                       int64_t predicted_count, int64_t* counts) {
    count(truth, predicted, pixels, true_ids, true_count, predicted_ids, predicted_count, counts);
}
