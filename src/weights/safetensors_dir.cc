// Which safetensors files of a directory make up the model, and opening them as one set of tensors.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/json.h"
#include "weights/tensor_table.h"

namespace sgl {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr int64_t kMaxIndexBytes = 256 << 20;

class SafetensorsFiles : public WeightFile {
 public:
  SafetensorsFiles(std::vector<MappedFile> maps, TensorTable table) : maps_(std::move(maps)), table_(std::move(table)) {}
  const std::vector<TensorRef>& tensors() const override { return table_.tensors(); }
  const TensorRef* find(std::string_view name) const override { return table_.find(name); }

 private:
  std::vector<MappedFile> maps_;
  TensorTable table_;
};

using WeightMap = std::map<std::string, std::string, std::less<>>;  // tensor -> file name

Result<std::unique_ptr<WeightFile>> Make(std::vector<MappedFile> maps, std::vector<TensorRef> tensors) {
  TRY(TensorTable table, TensorTable::Make(std::move(tensors)));
  return std::unique_ptr<WeightFile>(std::make_unique<SafetensorsFiles>(std::move(maps), std::move(table)));
}

// Opens `names` in `dir`. With a map, a tensor is taken only from the file the map gives for it (unmapped ones from anywhere).
Result<std::unique_ptr<WeightFile>> OpenAll(const fs::path& dir, const std::vector<std::string>& names, const WeightMap& map) {
  std::vector<MappedFile> maps;
  std::vector<TensorRef> tensors;
  for (const std::string& name : names) {
    const fs::path path = dir / name;
    TRY(MappedFile file, MappedFile::Open(path));
    TRY(std::vector<TensorRef> found, ReadSafetensors(file.bytes(), path.string(), true));
    for (TensorRef& tensor : found) {
      const auto listed = map.find(tensor.name);
      if (listed == map.end() || listed->second == name) tensors.push_back(std::move(tensor));
    }
    maps.push_back(std::move(file));
  }
  return Make(std::move(maps), std::move(tensors));
}

Result<WeightMap> ReadIndex(const fs::path& path) {
  TRY(const std::string text, ReadText(path, kMaxIndexBytes));
  auto json = ParseJson(text);
  if (!json.ok()) return std::move(json).error().In(path.string());
  const Json& listed = (*json)["weight_map"];
  if (!listed.is_object())
    return InvalidArgument(fmt::format("{}: weight_map: expected an object, found {}", path.string(), listed.type_name()));
  WeightMap map;
  for (const auto& [tensor, file] : listed.as_object()) {
    if (!file.is_string()) {
      return InvalidArgument(
          fmt::format("{}: weight_map: {}: expected a file name, found {}", path.string(), Quoted(tensor), file.type_name()));
    }
    // Shards lie beside the index; anything else could point out of the directory.
    const std::string& name = file.as_string();
    if (name.empty() || name == "." || name == ".." || name.find_first_of(std::string_view("/\0", 2)) != std::string::npos) {
      return InvalidArgument(
          fmt::format("{}: weight_map: {}: expected a plain file name, found {}", path.string(), Quoted(tensor), Quoted(name)));
    }
    map.emplace(tensor, name);
  }
  if (map.empty()) return InvalidArgument(path.string() + ": weight_map is empty");
  return map;
}

Result<std::unique_ptr<WeightFile>> OpenIndexed(const fs::path& dir) {
  const fs::path index = dir / kIndexName;
  TRY(const WeightMap map, ReadIndex(index));
  std::set<std::string> listed;
  for (const auto& [tensor, file] : map) listed.insert(file);
  const std::vector<std::string> names(listed.begin(), listed.end());
  std::vector<std::string> missing;
  std::error_code ignored;
  for (const std::string& name : names)
    if (!fs::exists(dir / name, ignored)) missing.push_back(name);
  if (!missing.empty()) return NotFound(fmt::format("{}: lists files that are missing: {}", index.string(), SomeOf(missing)));

  TRY(std::unique_ptr<WeightFile> weights, OpenAll(dir, names, map));
  std::vector<std::string> absent;
  for (const auto& [tensor, file] : map)
    if (weights->find(tensor) == nullptr) absent.push_back(fmt::format("{} (in {})", Quoted(tensor), file));
  if (!absent.empty()) return InvalidArgument(fmt::format("{}: lists tensors that their files lack: {}", index.string(), SomeOf(absent)));
  return weights;
}

struct Listing {
  std::vector<std::string> safetensors;  // sorted
  std::vector<std::string> pickles;      // .bin, .pt, .pth that could hold weights, sorted
};

bool IsTrainingState(std::string_view name) {
  return name == "training_args.bin" || name == "scheduler.pt" || name == "scaler.pt" || name.starts_with("optimizer.");
}

Result<Listing> List(const fs::path& dir) {
  Listing listing;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    const std::string extension = it->path().extension().string();
    if (extension == ".safetensors")
      listing.safetensors.push_back(name);
    else if ((extension == ".bin" || extension == ".pt" || extension == ".pth") && !IsTrainingState(name))
      listing.pickles.push_back(name);
  }
  if (error) return NotFound(fmt::format("{}: cannot list: {}", dir.string(), error.message()));
  std::sort(listing.safetensors.begin(), listing.safetensors.end());
  std::sort(listing.pickles.begin(), listing.pickles.end());
  return listing;
}

}  // namespace

Result<std::unique_ptr<WeightFile>> OpenSafetensors(const fs::path& file) {
  TRY(MappedFile map, MappedFile::Open(file));
  TRY(std::vector<TensorRef> tensors, ReadSafetensors(map.bytes(), file.string(), true));
  std::vector<MappedFile> maps;
  maps.push_back(std::move(map));
  return Make(std::move(maps), std::move(tensors));
}

Result<std::unique_ptr<WeightFile>> ParseSafetensors(std::span<const std::byte> bytes, const std::string& name) {
  TRY(std::vector<TensorRef> tensors, ReadSafetensors(bytes, name, false));
  return Make({}, std::move(tensors));
}

Result<std::unique_ptr<WeightFile>> OpenSafetensorsDir(const fs::path& dir) {
  std::error_code ignored;
  if (fs::exists(dir / kIndexName, ignored)) return OpenIndexed(dir);
  TRY(Listing listing, List(dir));
  if (!listing.safetensors.empty()) {
    // Mistral's own export beside the Hugging Face one holds the same weights under other names.
    if (listing.safetensors == std::vector<std::string>{"consolidated.safetensors", "model.safetensors"})
      listing.safetensors = {"model.safetensors"};
    return OpenAll(dir, listing.safetensors, {});
  }
  if (!listing.pickles.empty()) {
    return Unimplemented(
        fmt::format("{}: the weights are Python pickles ({}), which run code when they are read; convert them to "
                    "safetensors: load the model in Python and call model.save_pretrained(dir, safe_serialization=True)",
                    dir.string(), SomeOf(listing.pickles)));
  }
  return NotFound(dir.string() + ": cannot find any model weights (*.safetensors)");
}

}  // namespace sgl
