// Segment ids out of the compressed pixels of a panoptic PNG: inflated (RFC 1950, RFC 1951), checked, freed of the filters
// of their rows (PNG, section 9), and joined to one number a pixel. All of it does little where nothing changes, which in
// such maps is nearly everywhere. Whatever is not as it should be ends with 0: nothing is read or written beyond its end.

#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int64_t STEP = 16;  // pixels that are looked at together
constexpr int LONGEST = 15;  // bits of a code
constexpr int64_t WINDOW = 32768;  // bytes that may be repeated
constexpr int64_t ROOM = 258 + 15;  // for the longest repetition, in steps of 16 bytes

// Whether STEP pixels are zero.
inline bool are_zero(const uint8_t* at) {
    uint64_t any = 0;
    for (int64_t i = 0; i < 3 * STEP; i += 8) {
        uint64_t word;
        std::memcpy(&word, at + i, sizeof word);
        any |= word;
    }
    return any == 0;
}

// Three bytes in the order of the file: red is the lowest.
inline uint32_t pixel(const uint8_t* at) { return at[0] | at[1] << 8 | at[2] << 16; }

// Sums and means of four bytes, each for itself, modulo 256.
inline uint32_t add(uint32_t a, uint32_t b) {
    return ((a & 0x7f7f7f7fu) + (b & 0x7f7f7f7fu)) ^ ((a ^ b) & 0x80808080u);
}

inline uint32_t mean(uint32_t a, uint32_t b) { return (a & b) + (((a ^ b) & 0xfefefefeu) >> 1); }

inline int distance(int a, int b) { return a < b ? b - a : a - b; }

// The one of three neighbours that is nearest to left + up - corner, byte by byte.
uint32_t paeth(uint32_t left, uint32_t up, uint32_t corner) {
    if (up == corner) return left;
    if (left == corner) return up;
    uint32_t found = 0;
    for (int shift = 0; shift < 24; shift += 8) {
        const int a = left >> shift & 255, b = up >> shift & 255, c = corner >> shift & 255;
        const int to_a = distance(b, c), to_b = distance(a, c), to_c = distance(a + b, 2 * c);
        found |= static_cast<uint32_t>(to_a <= to_b && to_a <= to_c ? a : to_b <= to_c ? b : c) << shift;
    }
    return found;
}

enum Filter { NONE, SUB, UP, AVERAGE, PAETH };

template <Filter FILTER>
inline uint32_t prediction(uint32_t left, uint32_t up, uint32_t corner) {
    switch (FILTER) {
        case SUB: return left;
        case UP: return up;
        case AVERAGE: return mean(left, up);
        case PAETH: return paeth(left, up, corner);
        default: return 0;
    }
}

// Whether the next STEP pixels all equal the one to the left, their residues being zero.
template <Filter FILTER>
inline bool goes_on(const uint32_t* up, uint32_t left, uint32_t corner) {
    if (FILTER == SUB) return true;
    if (FILTER == NONE) return left == 0;
    uint32_t differs = up[0] ^ corner;
    for (int64_t i = 1; i < STEP; ++i) differs |= up[i] ^ corner;
    return differs == 0 && (FILTER == PAETH || left == corner);
}

template <Filter FILTER>
void restore_row(const uint8_t* residues, int64_t width, const uint32_t* up, uint32_t* row) {
    uint32_t left = 0, corner = 0;
    int64_t x = 0;
    while (x < width) {
        const uint8_t* at = residues + 3 * x;
        if (x + STEP <= width && are_zero(at)) {
            if (FILTER == UP) {
                std::memcpy(row + x, up + x, STEP * sizeof *row);
                x += STEP;
                left = row[x - 1];
                corner = up[x - 1];
                continue;
            }
            if (goes_on<FILTER>(up + x, left, corner)) {
                for (int64_t i = 0; i < STEP; ++i) row[x + i] = left;
                x += STEP;
                corner = up[x - 1];
                continue;
            }
        }
        const int64_t end = x + STEP < width ? x + STEP : width;
        for (; x < end; ++x) {
            left = row[x] = add(pixel(residues + 3 * x), prediction<FILTER>(left, up[x], corner)) & 0xffffffu;
            corner = up[x];
        }
    }
}

bool restore(const uint8_t* residues, int filter, int64_t width, const uint32_t* up, uint32_t* row) {
    switch (filter) {
        case NONE: restore_row<NONE>(residues, width, up, row); return true;
        case SUB: restore_row<SUB>(residues, width, up, row); return true;
        case UP: restore_row<UP>(residues, width, up, row); return true;
        case AVERAGE: restore_row<AVERAGE>(residues, width, up, row); return true;
        case PAETH: restore_row<PAETH>(residues, width, up, row); return true;
        default: return false;
    }
}

// The sums run in LANES of every so many bytes, and meet at the end of a part, before 16 bits are too few for them.
uint32_t adler32(uint32_t before_data, const uint8_t* data, int64_t size) {
    constexpr int64_t LANES = 64, PART = 16 * LANES;
    uint64_t sum = before_data & 0xffff, sums = before_data >> 16;
    int64_t start = 0;
    for (; start + PART <= size; start += PART) {
        uint16_t plain[LANES] = {0}, before[LANES] = {0};
        for (int64_t i = start; i < start + PART; i += LANES)
            for (int64_t lane = 0; lane < LANES; ++lane) {
                before[lane] += plain[lane];
                plain[lane] += data[i + lane];
            }
        uint32_t all = 0, weighted = 0;
        for (int64_t lane = 0; lane < LANES; ++lane) {
            all += plain[lane];
            weighted += LANES * before[lane] + static_cast<uint32_t>(LANES - lane) * plain[lane];
        }
        sums = (sums + PART * sum + weighted) % 65521;
        sum = (sum + all) % 65521;
    }
    for (; start < size; ++start) {
        sum = (sum + data[start]) % 65521;
        sums = (sums + sum) % 65521;
    }
    return static_cast<uint32_t>(sums << 16 | sum);
}

// What is inflated, of which ids are made row by row while it is in the cache.
class Rows {
public:
    Rows(int64_t height, int64_t width, uint32_t* ids)
        : height(height), width(width), bytes(1 + 3 * width), ids(ids), above(width),
          buffer(WINDOW + 2 * (bytes > WINDOW ? bytes : WINDOW) + ROOM), todo(buffer.data()), summed(todo) {}

    uint8_t* start() { return buffer.data(); }
    uint8_t* limit() { return start() + buffer.size() - ROOM; }  // up to here there is room for another repetition

    // Takes all bytes before `at`, and returns where the next ones go; null for more bytes than rows, or unknown filters.
    uint8_t* take(uint8_t* at) {
        sum = adler32(sum, summed, at - summed);
        summed = at;
        for (; at - todo >= bytes; todo += bytes, ++done) {
            uint32_t* row = ids + done * width;
            if (done == height || !restore(todo + 1, *todo, width, done ? row - width : above.data(), row)) return nullptr;
        }
        if (at < limit()) return at;
        const uint8_t* kept = at - WINDOW < todo ? at - WINDOW : todo;  // what may be repeated, and a row begun
        const int64_t moved = kept - start();
        std::memmove(start(), kept, at - kept);
        todo -= moved;
        summed -= moved;
        return at - moved;
    }

    bool complete(uint32_t expected) const { return done == height && todo == summed && sum == expected; }

private:
    const int64_t height, width, bytes;
    uint32_t* const ids;
    const std::vector<uint32_t> above;  // the first row, zeros
    std::vector<uint8_t> buffer;
    uint8_t *todo, *summed;  // first byte that is no id yet, and that is not in the sum
    int64_t done = 0;
    uint32_t sum = 1;
};

struct Bits {
    const uint8_t *at, *end;
    uint64_t buffer = 0;
    int count = 0, missing = 0;  // bits in the buffer; those of them that stand for bytes behind the end

    Bits(const uint8_t* data, int64_t size) : at(data), end(data + size) {}

    // 56 bits or more.
    void fill() {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        if (end - at >= 8) {
            uint64_t word;
            std::memcpy(&word, at, sizeof word);
            buffer |= word << count;
            at += (63 - count) >> 3;
            count |= 56;
            return;
        }
#endif
        for (; count <= 56; count += 8) {
            if (at < end) buffer |= static_cast<uint64_t>(*at++) << count; else missing += 8;
        }
    }

    uint32_t take(int bits) {
        const uint32_t value = buffer & ((1u << bits) - 1);
        drop(bits);
        return value;
    }

    void drop(int bits) {
        buffer >>= bits;
        count -= bits;
    }

    bool ran_out() const { return missing > count; }

    // Back to the first byte of which no bit was taken.
    void to_bytes() {
        at -= (count - missing) / 8;
        buffer = 0;
        count = missing = 0;
    }
};

// What a code of up to LONGEST bits stands for, looked up by the next bits: symbol << 4 | length of the code, 0 for none.
struct Code {
    std::vector<uint16_t> table;
    uint32_t mask = 0;

    // false for lengths that make no code; one that leaves bits unused is none, unless it has one word of one bit.
    bool build(const uint8_t* lengths, int symbols) {
        int of_length[LONGEST + 1] = {0}, longest = 0, free = 1;
        uint32_t next[LONGEST + 2] = {0};
        for (int symbol = 0; symbol < symbols; ++symbol) ++of_length[lengths[symbol]];
        of_length[0] = 0;
        for (int length = 1; length <= LONGEST; ++length) {
            next[length + 1] = (next[length] + of_length[length]) << 1;
            free = 2 * free - of_length[length];
            if (free < 0) return false;
            if (of_length[length]) longest = length;
        }
        if (free > 0 && longest > 1) return false;
        table.assign(std::size_t(1) << longest, 0);
        mask = (1u << longest) - 1;
        for (int symbol = 0; symbol < symbols; ++symbol) {
            const int length = lengths[symbol];
            if (!length) continue;
            uint32_t word = next[length]++, place = 0;
            for (int bit = 0; bit < length; ++bit, word >>= 1) place = place << 1 | (word & 1);
            for (; place <= mask; place += 1u << length) table[place] = symbol << 4 | length;
        }
        return true;
    }

    // The next symbol, -1 for none.
    int read(Bits& bits) const {
        const int entry = table[bits.buffer & mask], length = entry & 15;
        if (!length) return -1;
        bits.drop(length);
        return entry >> 4;
    }
};

struct Codes {
    Code symbols, distances;
};

bool fixed_codes(Codes& codes) {
    uint8_t lengths[288 + 32];
    for (int symbol = 0; symbol < 288; ++symbol)
        lengths[symbol] = symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
    std::memset(lengths + 288, 5, 32);
    return codes.symbols.build(lengths, 288) && codes.distances.build(lengths + 288, 32);
}

// The codes that stand at the head of a block, themselves in a code.
bool read_codes(Bits& bits, Codes& codes) {
    static const uint8_t ORDER[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    bits.fill();
    const int symbols = 257 + bits.take(5), distances = 1 + bits.take(5), words = 4 + bits.take(4);
    if (symbols > 286 || distances > 30) return false;
    uint8_t lengths[286 + 30] = {0}, own[19] = {0};
    for (int i = 0; i < words; ++i) {
        bits.fill();
        own[ORDER[i]] = bits.take(3);
    }
    Code code;
    if (!code.build(own, 19)) return false;
    for (int i = 0; i < symbols + distances;) {
        bits.fill();
        const int symbol = code.read(bits);
        if (symbol < 0 || bits.ran_out()) return false;
        if (symbol < 16) {
            lengths[i++] = symbol;
            continue;
        }
        if (symbol == 16 && i == 0) return false;
        const uint8_t value = symbol == 16 ? lengths[i - 1] : 0;
        const int times = symbol == 16 ? 3 + bits.take(2) : symbol == 17 ? 3 + bits.take(3) : 11 + bits.take(7);
        if (i + times > symbols + distances) return false;
        std::memset(lengths + i, value, times);
        i += times;
    }
    return lengths[256] && codes.symbols.build(lengths, symbols) && codes.distances.build(lengths + symbols, distances);
}

// `length` bytes again that stand `distance` before `at`; up to 15 more may be written.
inline void repeat(uint8_t* at, int64_t distance, int64_t length) {
    const uint8_t* from = at - distance;
    if (distance == 1) {
        std::memset(at, *from, length);
    } else if (distance >= 16) {
        for (int64_t i = 0; i < length; i += 16) std::memcpy(at + i, from + i, 16);
    } else {
        for (int64_t i = 0; i < length; ++i) at[i] = from[i];
    }
}

// Both return where the next bytes go, null for damaged data.
uint8_t* inflate_block(Bits& bits, const Codes& codes, Rows& rows, uint8_t* at) {
    static const uint16_t LENGTHS[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                         31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t LENGTH_BITS[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t DISTANCES[30] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
                                           193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    const uint8_t *start = rows.start(), *limit = rows.limit();
    for (;;) {
        bits.fill();
        const int symbol = codes.symbols.read(bits);
        if (symbol < 0 || bits.ran_out()) return nullptr;
        if (symbol == 256) return at;
        if (at >= limit && !(at = rows.take(at))) return nullptr;
        if (symbol < 256) {
            *at++ = static_cast<uint8_t>(symbol);
            continue;
        }
        if (symbol > 285) return nullptr;
        const int64_t length = LENGTHS[symbol - 257] + bits.take(LENGTH_BITS[symbol - 257]);
        const int far = codes.distances.read(bits);
        if (far < 0 || far > 29) return nullptr;
        const int64_t distance = DISTANCES[far] + bits.take(far < 4 ? 0 : far / 2 - 1);
        if (distance > at - start) return nullptr;
        repeat(at, distance, length);
        at += length;
    }
}

uint8_t* copy_stored(Bits& bits, Rows& rows, uint8_t* at) {
    if (bits.ran_out()) return nullptr;
    bits.to_bytes();
    if (bits.end - bits.at < 4) return nullptr;
    int64_t length = bits.at[0] | bits.at[1] << 8;
    if ((length ^ (bits.at[2] | bits.at[3] << 8)) != 0xffff || length > bits.end - bits.at - 4) return nullptr;
    for (bits.at += 4; length > 0;) {
        if (at >= rows.limit() && !(at = rows.take(at))) return nullptr;
        const int64_t part = length < ROOM ? length : ROOM;
        std::memcpy(at, bits.at, part);
        at += part;
        bits.at += part;
        length -= part;
    }
    return at;
}

// A stream of zlib that has exactly the rows, and nothing behind it.
bool inflate(const uint8_t* data, int64_t size, Rows& rows) {
    if (size < 6 || (data[0] & 15) != 8 || data[0] >> 4 > 7 || (data[0] << 8 | data[1]) % 31 || data[1] & 32) return false;
    Bits bits(data + 2, size - 2);
    uint8_t* at = rows.start();
    for (bool last = false; !last;) {
        bits.fill();
        last = bits.take(1);
        const uint32_t kind = bits.take(2);
        Codes codes;
        if (kind == 3 || (kind == 1 && !fixed_codes(codes)) || (kind == 2 && !read_codes(bits, codes))) return false;
        at = kind == 0 ? copy_stored(bits, rows, at) : inflate_block(bits, codes, rows, at);
        if (!at) return false;
    }
    if (bits.ran_out() || !rows.take(at)) return false;
    bits.to_bytes();
    const uint8_t* sum = bits.at;
    return bits.end - sum == 4 &&
           rows.complete(uint32_t(sum[0]) << 24 | uint32_t(sum[1]) << 16 | uint32_t(sum[2]) << 8 | sum[3]);
}

}  // namespace

// data: the joined IDAT chunks of an 8-bit RGB PNG that is not interlaced. ids: (height, width), red the lowest byte.
// good: 1, or 0 where the data are damaged or of another size; then ids mean nothing.
extern "C" void decode_ids(const uint8_t* data, int64_t size, int64_t height, int64_t width, uint32_t* ids,
                           int64_t* good) {
    Rows rows(height, width, ids);
    *good = inflate(data, size, rows);
}
