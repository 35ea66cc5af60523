# Every external library, with the reason it is here. All are Debian 12 packages; nothing is vendored.
find_package(Threads REQUIRED)
find_package(fmt 9 REQUIRED)                       # libfmt-dev: formatting (std::format is absent from gcc 12)
find_package(simdjson 3 REQUIRED)                  # libsimdjson-dev: JSON parser behind base/json.h
find_package(nlohmann_json 3.11 REQUIRED)          # nlohmann-json3-dev: positions of JSON syntax errors (base/json.cc only)
find_package(Boost 1.81 REQUIRED)                  # libboost1.81-dev: Asio (serve/http_server.cc) and Beast (serve/http_parse.cc), nowhere else
find_package(yaml-cpp REQUIRED)                    # libyaml-cpp-dev: --config files
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)      # libpcre2-dev: pre-tokeniser and stop regexes, with match limits
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET libssl libcrypto)  # libssl-dev: TLS (serve/tls.cc), checksums in tests
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)  # libutf8proc-dev: Unicode normalisation and categories
