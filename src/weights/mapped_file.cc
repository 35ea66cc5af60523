// SPDX-License-Identifier: Apache-2.0
#include "weights/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "weights/weights.h"

namespace sgl {
namespace {

struct Descriptor {
  explicit Descriptor(int value) : fd(value) {}
  Descriptor(Descriptor&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
  int fd;
};

struct OpenFile {
  Descriptor file;
  int64_t size;
};

Error SystemError(const std::filesystem::path& path, const char* what) {
  const int code = errno;
  const std::string message = fmt::format("{}: {}: {}", path.string(), what, std::strerror(code));
  return code == ENOENT || code == ENOTDIR ? NotFound(message) : InvalidArgument(message);
}

// O_NONBLOCK: opening a FIFO must not wait for a writer; regular files do not notice.
Result<OpenFile> OpenRegular(const std::filesystem::path& path) {
  Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.fd < 0) return SystemError(path, "cannot open");
  if (fstat(file.fd, &status) != 0) return SystemError(path, "cannot stat");
  if (!S_ISREG(status.st_mode)) return InvalidArgument(path.string() + ": not a regular file");
  return OpenFile{std::move(file), int64_t{status.st_size}};
}

// [begin, end) rounded to pages: outwards, or inwards (then begin >= end when no whole page lies inside).
struct PageRange {
  uintptr_t begin, end;
};
PageRange Pages(const TensorRef& tensor, bool outwards) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(tensor.data);
  const uintptr_t end = begin + static_cast<uintptr_t>(tensor.bytes);
  const auto down = [&](uintptr_t p) { return p / page * page; };
  const auto up = [&](uintptr_t p) { return down(p + page - 1); };
  return outwards ? PageRange{down(begin), up(end)} : PageRange{up(begin), down(end)};
}

void Advise(const TensorRef& tensor, bool outwards, int advice) {
  if (!tensor.mapped || tensor.bytes == 0) return;
  const PageRange range = Pages(tensor, outwards);
  // A hint: a kernel that refuses it costs speed, nothing else.
  if (range.begin < range.end) (void)madvise(reinterpret_cast<void*>(range.begin), range.end - range.begin, advice);
}

}  // namespace

Result<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  TRY(OpenFile opened, OpenRegular(path));
  if (opened.size == 0) return InvalidArgument(path.string() + ": the file is empty");
  const auto size = static_cast<size_t>(opened.size);
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, opened.file.fd, 0);
  if (data == MAP_FAILED) return SystemError(path, "cannot map");
  return MappedFile(static_cast<const std::byte*>(data), size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

Result<std::string> ReadText(const std::filesystem::path& path, int64_t max_bytes) {
  TRY(OpenFile opened, OpenRegular(path));
  if (opened.size > max_bytes) {
    return Error{Code::kTooLarge, fmt::format("{}: expected at most {} bytes, found {}", path.string(), max_bytes, opened.size)};
  }
  std::string text(static_cast<size_t>(opened.size), '\0');
  size_t at = 0;
  while (at < text.size()) {
    const ssize_t n = read(opened.file.fd, text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError(path, "cannot read");
    if (n == 0) break;  // it shrank meanwhile
    at += static_cast<size_t>(n);
  }
  text.resize(at);
  return text;
}

void Prefetch(const TensorRef& tensor) { Advise(tensor, true, MADV_WILLNEED); }
void DropPages(const TensorRef& tensor) { Advise(tensor, false, MADV_DONTNEED); }

}  // namespace sgl
