// SPDX-License-Identifier: Apache-2.0
#include "layers/packed_image.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <set>

#include "base/hash.h"
#include "kernels/kernels.h"
#include "obs/log.h"

namespace sgl {
namespace {

constexpr char kMagic[8] = {'S', 'G', 'L', 'P', 'A', 'C', 'K', '1'};
constexpr size_t kAlign = 4096;
constexpr size_t kChunk = size_t{4} << 20;
constexpr int64_t kSampledBytes = 4096;  // of each end of a tensor
constexpr uint64_t kMaxTable = uint64_t{64} << 20;

struct Header {
  char magic[8];
  uint64_t key, bytes, entries, chunks, table_hash;  // of the table behind it: entries, then one hash per chunk of the payload
};

struct File {
  explicit File(int value) : fd(value) {}
  ~File() {
    if (fd >= 0) close(fd);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd;
};

size_t RoundUp(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

bool ReadAt(int fd, void* data, size_t bytes, uint64_t offset) {
  auto* out = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t n = pread(fd, out, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    out += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<size_t>(n);
  }
  return true;
}
bool WriteAt(int fd, const void* data, size_t bytes, uint64_t offset) {
  const auto* in = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = pwrite(fd, in, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    in += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<size_t>(n);
  }
  return true;
}

// How the kernels in use lay out each format: what they make of a small matrix. A new layout has a new fingerprint by itself.
uint64_t LayoutFingerprint(const WeightFile& weights) {
  constexpr int64_t kRows = 19, kInputs = 512, kPanels = (kRows + kPanel - 1) / kPanel;
  std::set<DType> formats = {DType::kF32, DType::kF16, DType::kBF16, DType::kI8};  // what options may turn the others into
  for (const TensorRef& tensor : weights.tensors())
    if (IsQuantised(tensor.dtype)) formats.insert(tensor.dtype);
  uint64_t hash = HashText(kernels().isa);
  for (const DType format : formats) {
    const DType source = format == DType::kI8 ? DType::kF32 : format;  // no file has it
    const int64_t row_bytes = RowBytes(source, kInputs), panel_bytes = PanelBytes(format, kInputs);
    std::vector<std::byte> row(static_cast<size_t>(row_bytes)), packed(static_cast<size_t>(kPanels * panel_bytes + 64));
    const PackedMat mat{.format = format, .n = kRows, .k = kInputs, .panel_bytes = panel_bytes, .data = packed.data()};
    for (int64_t r = 0; r < kRows; ++r) {
      // Below 0x40 every format's numbers are finite.
      for (int64_t i = 0; i < row_bytes; ++i) row[static_cast<size_t>(i)] = static_cast<std::byte>((r * 131 + i * 7 + i / 256) % 0x40);
      PackRow(source, row.data(), r, mat);
    }
    hash = HashBytes(packed.data(), packed.size(), hash ^ static_cast<uint64_t>(panel_bytes));
  }
  return hash;
}

std::optional<PackedImage> Refuse(const PackedImageId& id, const char* why) {
  LOG_WARNING("{}: ignored, the weights are packed again: {}", id.path.string(), why);
  return std::nullopt;
}

}  // namespace

std::optional<PackedImageId> IdentifyPackedImage(const std::filesystem::path& dir, const ModelFiles& files, const std::string& options) {
  uint64_t key = LayoutFingerprint(*files.weights);
  key = HashText(options, key);
  std::set<std::string> seen;
  for (const TensorRef& tensor : files.weights->tensors()) {
    if (seen.insert(std::string(tensor.file)).second) {
      struct stat status {};
      if (stat(std::string(tensor.file).c_str(), &status) != 0) return std::nullopt;
      const int64_t about[] = {int64_t{status.st_size}, int64_t{status.st_mtim.tv_sec}, int64_t{status.st_mtim.tv_nsec}};
      key = HashBytes(about, sizeof about, key);
    }
    key = HashText(tensor.name, key);
    key = HashBytes(tensor.shape.data(), tensor.shape.size() * sizeof tensor.shape[0], key ^ static_cast<uint64_t>(tensor.dtype));
    const int64_t sampled = std::min(tensor.bytes, kSampledBytes);
    key = HashBytes(tensor.data, static_cast<size_t>(sampled), key);
    key = HashBytes(tensor.data + tensor.bytes - sampled, static_cast<size_t>(sampled), key);
    DropPages(tensor);
  }
  // One place per model, kind of kernels and options: a new image replaces the stale one.
  std::error_code ignored;
  const std::filesystem::path absolute = std::filesystem::weakly_canonical(files.path, ignored);
  const uint64_t place = HashText(absolute.string(), HashText(options, HashText(kernels().isa)));
  std::string stem = absolute.filename().string();
  if (stem.empty()) stem = "model";
  return PackedImageId{dir / fmt::format("{}-{:016x}.packed", stem, place), key};
}

std::optional<PackedImage> ReadPackedImage(const PackedImageId& id, const Buffer& memory, size_t capacity, ThreadPool& pool) {
  const File file(open(id.path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0) {
    if (errno != ENOENT) return Refuse(id, std::strerror(errno));
    return std::nullopt;
  }
  struct stat status {};
  Header header{};
  if (fstat(file.fd, &status) != 0 || !ReadAt(file.fd, &header, sizeof header, 0)) return Refuse(id, "it is cut off");
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) return Refuse(id, "it is not a packed image");
  if (header.key != id.key) return Refuse(id, "it is of other files, options or kernels");
  if (header.bytes > capacity || header.chunks != (header.bytes + kChunk - 1) / kChunk || header.entries > kMaxTable / 8 ||
      (header.entries + header.chunks) * 8 > kMaxTable)
    return Refuse(id, "its header is damaged");
  std::vector<uint64_t> table(header.entries + header.chunks);
  const size_t table_bytes = table.size() * sizeof(uint64_t), begin = RoundUp(sizeof header + table_bytes);
  if (static_cast<uint64_t>(status.st_size) != begin + header.bytes) return Refuse(id, "it has the wrong size");
  if (!ReadAt(file.fd, table.data(), table_bytes, sizeof header) || HashBytes(table.data(), table_bytes) != header.table_hash)
    return Refuse(id, "its header is damaged");
  std::atomic<bool> whole{true};
  pool.Run(static_cast<int>(header.chunks), [&](int chunk, int) {
    const size_t from = static_cast<size_t>(chunk) * kChunk, bytes = std::min<size_t>(kChunk, header.bytes - from);
    if (!ReadAt(file.fd, memory.data() + from, bytes, begin + from) ||
        HashBytes(memory.data() + from, bytes) != table[header.entries + static_cast<size_t>(chunk)])
      whole.store(false, std::memory_order_relaxed);
  });
  if (!whole.load()) return Refuse(id, "its content is damaged");
  table.resize(header.entries);
  return PackedImage{std::move(table), header.bytes};
}

void WritePackedImage(const PackedImageId& id, const PackedImage& image, const Buffer& memory, ThreadPool& pool) {
  std::error_code error;
  std::filesystem::create_directories(id.path.parent_path(), error);
  std::filesystem::path unfinished = id.path;
  unfinished += fmt::format(".{}.part", getpid());
  const auto fail = [&] {
    LOG_WARNING("{}: cannot be written: {}", id.path.string(), std::strerror(errno));
    (void)unlink(unfinished.c_str());
  };
  const File file(open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.fd < 0) return fail();
  const size_t chunks = (image.bytes + kChunk - 1) / kChunk;
  std::vector<uint64_t> table = image.entries;
  table.resize(image.entries.size() + chunks);
  const size_t table_bytes = table.size() * sizeof(uint64_t), begin = RoundUp(sizeof(Header) + table_bytes);
  std::atomic<int> failed{0};
  pool.Run(static_cast<int>(chunks), [&](int chunk, int) {
    const size_t from = static_cast<size_t>(chunk) * kChunk, bytes = std::min<size_t>(kChunk, image.bytes - from);
    table[image.entries.size() + static_cast<size_t>(chunk)] = HashBytes(memory.data() + from, bytes);
    if (!WriteAt(file.fd, memory.data() + from, bytes, begin + from)) failed.store(errno);
  });
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.key = id.key;
  header.bytes = image.bytes;
  header.entries = image.entries.size();
  header.chunks = chunks;
  header.table_hash = HashBytes(table.data(), table_bytes);
  errno = failed.load();
  // What a crash leaves unwritten behind the rename shows as damage when the image is read.
  if (errno != 0 || !WriteAt(file.fd, table.data(), table_bytes, sizeof header) || !WriteAt(file.fd, &header, sizeof header, 0) ||
      rename(unfinished.c_str(), id.path.c_str()) != 0)
    return fail();
  LOG_INFO("packed weights written to {}: {} MB", id.path.string(), image.bytes / 1000000);
}

}  // namespace sgl
