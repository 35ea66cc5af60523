# room(<name> FLOOR <n> [USES <rooms>...] [LINKS <external targets>...])
#
# One folder of src/ is one room is one static library `room_<name>`. The folder is the manifest:
#   *.h         public header set, each compiled alone by `all_verify_interface_header_sets`
#   *.cc        sources          *_test.cc   GoogleTest, one binary `<name>_test`
#   *_fuzz.cc   libFuzzer, one binary each (SGLANG_FUZZ), seeds in <file>_corpus/
# A room may use only rooms on a lower floor; anything else stops the configure step.
include(GoogleTest)

function(room name)
  cmake_parse_arguments(PARSE_ARGV 1 R "" "FLOOR" "USES;LINKS")
  set_property(GLOBAL PROPERTY room_floor_${name} ${R_FLOOR})
  foreach(used IN LISTS R_USES)
    get_property(floor GLOBAL PROPERTY room_floor_${used})
    if("${floor}" STREQUAL "")
      message(FATAL_ERROR "room ${name}: uses unknown room '${used}' (is it on a higher floor?)")
    elseif(NOT floor LESS R_FLOOR)
      message(FATAL_ERROR "room ${name} (floor ${R_FLOOR}) may not use ${used} (floor ${floor})")
    endif()
  endforeach()

  file(GLOB_RECURSE headers CONFIGURE_DEPENDS *.h)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS *.cc)
  set(tests ${sources})
  set(fuzzers ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|_bench|_fuzz)\\.cc$")
  list(FILTER sources EXCLUDE REGEX "/(any|portable|avx2|avx512|amx)/") # built by isa_objects()

  add_library(room_${name} STATIC ${sources})
  target_sources(room_${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/src FILES ${headers})
  list(TRANSFORM R_USES PREPEND room_)
  target_link_libraries(room_${name} PUBLIC ${R_USES} ${R_LINKS} PRIVATE project_warnings)
  set_target_properties(room_${name} PROPERTIES LINKER_LANGUAGE CXX)

  if(BUILD_TESTING AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE room_${name} project_warnings GTest::gtest_main)
    target_compile_definitions(${name}_test PRIVATE SGLANG_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    add_test(NAME ${name}.unit COMMAND ${name}_test --gtest_brief=1)
    set_tests_properties(${name}.unit PROPERTIES LABELS "unit;${name}" TIMEOUT 900)
  endif()

  if(SGLANG_FUZZ)
    foreach(file IN LISTS fuzzers)
      get_filename_component(fuzzer ${file} NAME_WE)
      get_filename_component(folder ${file} DIRECTORY)
      add_executable(${fuzzer} ${file})
      target_link_libraries(${fuzzer} PRIVATE room_${name} project_warnings -fsanitize=fuzzer)
      file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${fuzzer}_found)
      add_test(NAME fuzz.${fuzzer} COMMAND ${fuzzer} -max_total_time=10 -timeout=5 -rss_limit_mb=3000 -print_final_stats=1
        ${CMAKE_CURRENT_BINARY_DIR}/${fuzzer}_found ${folder}/${fuzzer}_corpus)
      set_tests_properties(fuzz.${fuzzer} PROPERTIES LABELS "fuzz;${name}" TIMEOUT 300)
    endforeach()
  endif()
endfunction()

# isa_objects(<room> <isa> <flags>...): compiles any/*.cc and <isa>/*.cc of the room with the ISA's flags into
# namespace <isa>, and registers the test that no inline or template symbol of another namespace leaks out of those objects.
function(isa_objects room isa)
  file(GLOB sources CONFIGURE_DEPENDS any/*.cc ${isa}/*.cc)
  list(FILTER sources EXCLUDE REGEX "(_test|_bench)\\.cc$")
  add_library(${room}_${isa} OBJECT ${sources})
  target_include_directories(${room}_${isa} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${room}_${isa} PRIVATE project_warnings)
  target_compile_options(${room}_${isa} PRIVATE ${ARGN} $<$<NOT:$<CONFIG:Debug>>:-O3> -fno-exceptions -fno-math-errno -ffp-contract=fast)
  if("${CMAKE_CXX_FLAGS}" MATCHES "-fsanitize=[a-z,]*undefined") # checks of every access make these files ten times as slow to compile
    target_compile_options(${room}_${isa} PRIVATE -fno-sanitize=alignment,pointer-overflow)
  endif()
  target_compile_definitions(${room}_${isa} PRIVATE KERNEL_ISA=${isa})
  target_sources(room_${room} PRIVATE $<TARGET_OBJECTS:${room}_${isa}>)
  add_test(NAME lint.isa_symbols.${isa}
    COMMAND ${PROJECT_SOURCE_DIR}/tools/check_isa_symbols.sh ${isa} $<TARGET_OBJECTS:${room}_${isa}>
    COMMAND_EXPAND_LISTS)
  set_tests_properties(lint.isa_symbols.${isa} PROPERTIES LABELS lint)
endfunction()
