"""The products of the embedded catalogue: fifty kinds, and their brands."""

from typing import NamedTuple

_SEPARATOR = " \u203a "


class Kind(NamedTuple):
  """One kind of product.

  Attributes:
    category: one of WebShop's five.
    article: "a" for what is named with one, else "".
    name: "hiking boots".
    path: its category and the ones above, as WebShop writes them.
    traits: attributes that stand before the name, "waterproof".
    extras: attributes that come after "with", "memory foam".
    options: the names of its options, keys of `OPTIONS`.
    prices: the lowest and the highest, in whole dollars.
  """

  category: str
  article: str
  name: str
  path: str
  traits: tuple[str, ...]
  extras: tuple[str, ...]
  options: tuple[str, ...]
  prices: tuple[int, int]


# option: the name that pages show, and all values; a product has some of them.
OPTIONS = {
  "color": ("color", (
    "black", "white", "navy", "red", "green", "grey", "brown", "pink", "purple", "yellow",
    "orange", "teal", "beige", "dark blue", "light blue", "rose gold",
  )),
  "wear": ("size", ("x-small", "small", "medium", "large", "x-large", "xx-large")),
  "shoe": ("size", ("5", "6", "7", "8", "9", "10", "11", "12")),
  "liquid": ("size", ("2 ounce", "4 ounce", "8 ounce", "12 ounce", "16 ounce", "32 ounce")),
  "pack": ("size", ("pack of 1", "pack of 2", "pack of 3", "pack of 6", "pack of 12")),
  "cable": ("length", ("3 feet", "6 feet", "10 feet", "15 feet", "25 feet")),
  "memory": ("capacity", ("32 gb", "64 gb", "128 gb", "256 gb", "512 gb")),
  "bed": ("size", ("twin", "full", "queen", "king")),
  "rug": ("size", ("2 x 3 feet", "3 x 5 feet", "4 x 6 feet", "5 x 8 feet", "8 x 10 feet")),
  "scent": ("scent", (
    "lavender", "vanilla", "citrus", "coconut", "eucalyptus", "jasmine", "mint", "unscented",
  )),
  "flavor": ("flavor", (
    "chocolate", "vanilla", "strawberry", "lemon", "honey", "cinnamon", "peach", "original",
  )),
  "savory": ("flavor", (
    "sea salt", "barbecue", "cheddar", "garlic", "jalapeno", "rosemary", "smoked", "original",
  )),
}  # fmt: skip

BRANDS = (
  "Alvora", "Brenlow", "Calder", "Dunmere", "Elstow", "Farlane", "Gravik", "Holmby", "Iverna",
  "Jorvel", "Kestrin", "Lomond", "Marlow", "Norvik", "Ostara", "Pellam", "Quenby", "Rowick",
  "Selwyn", "Tamsin", "Ulvane", "Verity", "Wexcombe", "Yarrow", "Zelmar", "Ashdown", "Birkett",
  "Corvane", "Delphy", "Everley",
)  # fmt: skip

# name; path; traits; extras; options; prices
_TABLE = {
  "beauty": """
a shampoo; Hair Care, Shampoo; sulfate free, paraben free, cruelty free, color safe; argan oil, tea tree oil, keratin; scent, liquid; 6 34
a hair conditioner; Hair Care, Conditioner; sulfate free, leave in, cruelty free, deep moisture; coconut oil, shea butter, biotin; scent, liquid; 6 34
a face cream; Skin Care, Face; fragrance free, oil free, anti aging, dermatologist tested; hyaluronic acid, vitamin c, green tea; liquid; 9 60
a body lotion; Skin Care, Body; fast absorbing, paraben free, plant based, non greasy; shea butter, aloe vera, oatmeal; scent, liquid; 5 30
lip balm; Makeup, Lips; cruelty free, long lasting, petroleum free, tinted; beeswax, vitamin e, jojoba oil; color, pack; 3 20
nail polish; Makeup, Nails; quick dry, high gloss, chip resistant, toxin free; glitter finish, matte finish, gel effect; color; 4 22
a makeup brush set; Makeup, Tools; soft bristle, vegan, travel size, easy clean; bamboo handles, storage case, mirror; color; 9 48
bath salts; Bath, Soaks; muscle soothing, dye free, fast dissolving, small batch; dead sea salt, epsom salt, dried petals; scent, pack; 6 32
a hair dryer; Hair Care, Tools; fast drying, low noise, foldable, dual voltage; ionic technology, diffuser, cool shot; color; 18 120
a sunscreen; Skin Care, Sun; water resistant, reef safe, broad spectrum, oil free; zinc oxide, aloe vera, vitamin e; liquid; 7 40
""",
  "electronics": """
wireless earbuds; Headphones, Earbuds; noise cancelling, sweat proof, low latency, long battery; charging case, touch control, deep bass; color; 15 160
a bluetooth speaker; Portable Audio, Speakers; water resistant, high power, pocket size, shock proof; stereo sound, party lights, voice assistant; color; 14 140
a usb cable; Accessories, Cables; fast charging, high speed, nylon braided, tangle free; gold plated plugs, right angle plug, cable tie; color, cable; 5 28
a hdmi cable; Television, Cables; high speed, gold plated, ultra thin, heavy duty; ethernet channel, metal shell, signal booster; cable; 6 60
a phone case; Cell Phones, Cases; shock absorbing, scratch resistant, slim fit, anti yellow; card holder, kick stand, screen protector; color; 7 40
a memory card; Cameras, Storage; high speed, shock proof, high endurance, heat proof; adapter, plastic case, recovery software; memory; 8 110
a webcam; Computers, Video; high definition, wide angle, plug and play, auto focus; privacy cover, dual microphones, tripod; color; 18 130
a gaming mouse; Computers, Mice; ergonomic, high precision, silent click, lightweight; side buttons, adjustable weights, rgb lighting; color; 12 90
a power bank; Cell Phones, Chargers; fast charging, ultra slim, high capacity, airline safe; led display, solar panel, two ports; color; 14 80
a security camera; Cameras, Security; motion activated, weather proof, battery powered, high resolution; night vision, two way audio, cloud storage; color, pack; 24 220
""",
  "fashion": """
hiking boots; Shoes, Boots; waterproof, non slip, insulated, steel toe; memory foam, rubber sole, arch support; color, shoe; 35 180
running shoes; Shoes, Athletic; lightweight, breathable, non slip, wide fit; gel cushion, reflective strips, rubber sole; color, shoe; 30 150
a winter coat; Clothing, Coats; water resistant, wind proof, fleece lined, machine washable; detachable hood, faux fur, inner pocket; color, wear; 40 240
a t-shirt; Clothing, Shirts; slim fit, machine washable, moisture wicking, tagless; crew neck, long sleeve, chest pocket; color, wear; 8 38
jeans; Clothing, Pants; high waist, stretchy, straight leg, stone washed; button closure, ripped knees, deep pockets; color, wear; 20 95
a summer dress; Clothing, Dresses; knee length, wrinkle free, loose fit, hand washable; floral print, side pockets, tie waist; color, wear; 18 90
a leather belt; Accessories, Belts; hand stitched, reversible, extra wide, scratch resistant; metal buckle, gift box, braided edge; color, wear; 10 60
wool socks; Clothing, Socks; moisture wicking, odor resistant, extra thick, machine washable; cushioned heel, arch support, seamless toe; color, pack; 7 36
a rain jacket; Clothing, Jackets; waterproof, breathable, packable, wind proof; sealed seams, zipper closure, reflective strips; color, wear; 25 160
sandals; Shoes, Sandals; quick dry, non slip, open toe, ankle strap; cork footbed, rubber sole, adjustable buckle; color, shoe; 15 85
""",
  "garden": """
an area rug; Decor, Rugs; stain resistant, non slip, machine washable, low pile; geometric pattern, fringe edge, cotton backing; color, rug; 22 260
a bed sheet set; Bedding, Sheets; wrinkle resistant, extra soft, machine washable, cooling; deep pockets, satin weave, elastic corners; color, bed; 18 110
a throw pillow; Decor, Pillows; super soft, double sided, hypoallergenic, machine washable; hidden zipper, tassels, velvet cover; color; 9 45
a desk lamp; Lighting, Lamps; dimmable, eye caring, energy saving, space saving; usb port, metal base, touch switch; color; 15 85
window curtains; Decor, Curtains; light blocking, noise reducing, heat insulating, machine washable; metal grommets, linen texture, embroidered trim; color, pack; 14 90
a plant pot; Outdoor, Planters; frost proof, hand painted, self watering, indoor outdoor; drainage hole, bamboo stand, matching saucer; color, pack; 8 60
a garden hose; Outdoor, Watering; kink free, expandable, leak proof, heavy duty; brass fittings, spray nozzle, wall hanger; color, cable; 15 75
a storage basket; Storage, Baskets; hand woven, foldable, moisture proof, sturdy; rope handles, hinged lid, cotton liner; color, pack; 9 55
a bar stool; Furniture, Stools; height adjustable, space saving, easy assemble, heavy duty; foot rest, padded seat, swivel base; color; 40 220
a scented candle; Decor, Candles; lead free, long burning, hand poured, smoke free; soy wax, wooden wick, glass jar; scent, pack; 7 42
""",
  "grocery": """
green tea; Beverages, Tea; caffeine free, fair trade, gluten free, usda organic; real ginger, dried fruit, whole leaves; flavor, pack; 5 34
coffee beans; Beverages, Coffee; dark roast, fair trade, low acid, freshly ground; nutty notes, resealable bag, cacao nibs; flavor, liquid; 8 46
protein bars; Snacks, Bars; gluten free, low sugar, dairy free, high fiber; almond butter, whey protein, chia seeds; flavor, pack; 7 44
potato chips; Snacks, Chips; kettle cooked, non gmo, low sodium, trans fat free; avocado oil, crinkle cut, cracked pepper; savory, pack; 4 30
trail mix; Snacks, Nuts; keto friendly, non gmo, low sugar, high protein; dried cranberries, roasted almonds, pumpkin seeds; savory, liquid; 6 36
granola; Breakfast, Cereal; gluten free, whole grain, nut free, low sugar; rolled oats, maple syrup, flax seeds; flavor, liquid; 5 32
popcorn; Snacks, Popcorn; ready to eat, air popped, dairy free, low calorie; coconut oil, white kernels, herb seasoning; savory, pack; 4 28
beef jerky; Snacks, Meat; grass fed, high protein, nitrite free, low carb; apple cider vinegar, black pepper, brown sugar; savory, liquid; 7 48
a pancake mix; Breakfast, Baking; gluten free, dairy free, high protein, non gmo; almond flour, whole wheat, flax seeds; flavor, pack; 5 30
crackers; Snacks, Crackers; oven baked, low sodium, gluten free, shelf stable; sesame seeds, olive oil, ancient grains; savory, pack; 4 26
""",
}


def kinds() -> tuple[Kind, ...]:
  """All kinds, category by category."""
  found = []
  for category, lines in _TABLE.items():
    for line in lines.strip().splitlines():
      name, path, traits, extras, options, prices = line.split("; ")
      article = "a" if name.startswith(("a ", "an ")) else ""
      low, high = map(int, prices.split())
      found.append(
        Kind(
          category=category,
          article=article,
          name=name.split(" ", 1)[1] if article else name,
          path=_SEPARATOR.join([category.title(), *path.split(", ")]),
          traits=tuple(traits.split(", ")),
          extras=tuple(extras.split(", ")),
          options=tuple(options.split(", ")),
          prices=(low, high),
        )
      )
  return tuple(found)
